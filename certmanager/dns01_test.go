package certmanager_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
)

// dns01 is a solver that writes the TXT records which the CA sees.
type dns01 struct{ ca *acmetest.Server }

func (dns01) Type() string { return "dns-01" }

func (s dns01) Present(_ context.Context, p acme.Proof) error {
	digest := sha256.Sum256([]byte(p.KeyAuthorization))
	s.ca.SetTXT("_acme-challenge."+p.Identifier.Value, base64.RawURLEncoding.EncodeToString(digest[:]))
	return nil
}

func (s dns01) CleanUp(_ context.Context, p acme.Proof) error {
	s.ca.SetTXT("_acme-challenge." + p.Identifier.Value)
	return nil
}
