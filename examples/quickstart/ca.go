package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/storage"
)

// caKey is where the storage has the demonstration's CA.
const caKey = "quickstart/ca"

// A caRecord is what is kept of the CA: what lets it outlive the process.
type caRecord struct {
	Root     string             `json:"root"` // certificate and key, PEM
	Accounts []acmetest.Account `json:"accounts,omitempty"`
}

// startCA starts a CA in this process. It goes on where the last one on the storage ended, with the
// same root and the same accounts. What it can't keep of new accounts it says to complain.
func startCA(ctx context.Context, store storage.Store, lifetime time.Duration, complain func(error)) (*acmetest.Server, error) {
	ca := acmetest.NewUnstartedServer()
	ca.Lifetime = lifetime
	ca.OnAccount = func(a acmetest.Account) {
		if err := keepAccount(ctx, store, a); err != nil {
			complain(fmt.Errorf("keep the CA's account: %w", err))
		}
	}
	known, err := loadCA(ctx, store, ca)
	if err != nil {
		return nil, err
	}
	ca.StartInMemory()
	if known {
		return ca, nil
	}
	err = keepRoot(ctx, store, ca.Root)
	if err == nil {
		return ca, nil
	}
	ca.Close()
	if errors.Is(err, storage.ErrConflict) { // another start was faster: its root it is
		return startCA(ctx, store, lifetime, complain)
	}
	return nil, err
}

// loadCA gives the CA what is kept of it. It reports false if that is nothing.
func loadCA(ctx context.Context, store storage.Store, ca *acmetest.Server) (bool, error) {
	item, err := store.Load(ctx, caKey)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	kept, err := decodeCA(item.Value)
	if err != nil {
		return false, err
	}
	ca.Accounts = kept.Accounts
	if ca.Root, err = tls.X509KeyPair([]byte(kept.Root), []byte(kept.Root)); err == nil && !ca.Root.Leaf.IsCA {
		err = errors.New("its certificate is no CA's")
	}
	if err != nil {
		return false, fmt.Errorf("the stored record %s can't be used: %w", caKey, err)
	}
	return true, nil
}

func decodeCA(value []byte) (caRecord, error) {
	var kept caRecord
	if json.Unmarshal(value, &kept) != nil {
		return kept, fmt.Errorf("the stored record %s can't be used: it is not the JSON of a CA", caKey)
	}
	return kept, nil
}

// keepRoot stores a new CA's root with its key.
func keepRoot(ctx context.Context, store storage.Store, root tls.Certificate) error {
	key, err := x509.MarshalPKCS8PrivateKey(root.PrivateKey)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	text.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate[0]}))
	text.Write(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	value, err := json.Marshal(caRecord{Root: text.String()})
	if err != nil {
		return err
	}
	_, err = store.Save(ctx, caKey, value, "")
	return err
}

// keepAccount stores a new or changed account. A key has one.
func keepAccount(ctx context.Context, store storage.Store, a acmetest.Account) error {
	_, err := storage.Update(ctx, store, caKey, func(old []byte) ([]byte, error) {
		kept, err := decodeCA(old)
		if err != nil {
			return nil, err
		}
		kept.Accounts = slices.DeleteFunc(kept.Accounts, func(b acmetest.Account) bool { return bytes.Equal(b.Key, a.Key) })
		kept.Accounts = append(kept.Accounts, a)
		return json.Marshal(kept)
	})
	return err
}
