package certmanager

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/record"
)

// errNotExportable is why there is no key to be handed out.
var errNotExportable = errors.New("its private key is kept by Config.Keys, which gives it to nobody: have the key made by the manager, without Keys, for names that other programs serve")

// Export returns the certificate that is served for the name, with its chain, and the private key (PKCS #8), both PEM: what
// [Manager.Import] takes. It is for programs beside this one; package deploy keeps files of it. Of several kinds of key it is
// the first that there is a certificate with. One that was evicted from memory is read from the storage, for which the
// manager has to run.
//
// The error wraps [fs.ErrNotExist] if the name is not managed or has no certificate yet. A key that Config.Keys has can't be
// exported.
func (m *Manager) Export(ctx context.Context, name string) (certPEM, keyPEM []byte, err error) {
	if m.store == nil {
		return nil, nil, errNotMade
	}
	id, err := acme.ParseIdentifier(name)
	if err != nil {
		return nil, nil, fmt.Errorf("certmanager: export: %w", err)
	}
	e := familyOf(m.catalogue.serving(id.Value)).ready()
	if e == nil {
		return nil, nil, fmt.Errorf("certmanager: export: no certificate for %s is served: %w", id.Value, fs.ErrNotExist)
	}
	s := e.served.Load()
	if s == nil {
		if s, err = m.recalls.await(ctx, e, recallTimeout); err != nil {
			return nil, nil, fmt.Errorf("certmanager: export: the certificate for %s can't be read from the storage: %w", id.Value, err)
		}
	}
	if s == nil {
		return nil, nil, fmt.Errorf("certmanager: export: no certificate for %s is stored any more: %w", id.Value, fs.ErrNotExist)
	}
	if _, isDistant := s.PrivateKey.(*distantKey); isDistant {
		return nil, nil, fmt.Errorf("certmanager: export: %s: %w", id.Value, errNotExportable)
	}
	if keyPEM, err = record.EncodeKey(s.PrivateKey); err != nil {
		return nil, nil, fmt.Errorf("certmanager: export: %s: %w", id.Value, err)
	}
	var chain bytes.Buffer
	for _, der := range s.Certificate.Certificate {
		if err := pem.Encode(&chain, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
			return nil, nil, fmt.Errorf("certmanager: export: %s: %w", id.Value, err)
		}
	}
	return chain.Bytes(), keyPEM, nil
}
