package certmanager_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"log/slog"
	"strings"
	"sync"

	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// A vault keeps private keys outside the storage: here in memory, elsewhere in a KMS.
type vault struct{ keys sync.Map }

func (v *vault) Create(ctx context.Context, ref string, t certmanager.KeyType) (crypto.Signer, error) {
	if t != certmanager.ECDSAP256 {
		return nil, errors.ErrUnsupported
	}
	fresh, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	key, _ := v.keys.LoadOrStore(ref, fresh)
	return key.(crypto.Signer), nil
}

func (v *vault) Open(ctx context.Context, ref string) (crypto.Signer, error) {
	if key, ok := v.keys.Load(ref); ok {
		return key.(crypto.Signer), nil
	}
	return nil, fs.ErrNotExist
}

func (v *vault) Delete(ctx context.Context, ref string) error {
	v.keys.Delete(ref)
	return nil
}

// The private keys are made and kept by a vault: the storage has nothing but the references to them.
func ExampleKeys() {
	ca := acmetest.NewServer()
	defer ca.Close()
	keys, store := new(vault), new(storage.Memory)
	m, err := certmanager.New(certmanager.Config{
		Names:        []string{"example.com"},
		Issuers:      []certmanager.Issuer{&certmanager.ACME{DirectoryURL: ca.URL, HTTPClient: ca.Client()}},
		AgreeToTerms: true,
		Keys:         keys,
		Storage:      store,
		Logger:       slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	account, err := m.Account("")
	if err != nil {
		log.Fatal(err)
	}
	if err := account.UpdateContact(context.Background(), "admin@example.com"); err != nil { // which registers it
		log.Fatal(err)
	}
	for ref := range keys.keys.Range {
		purpose, _, _ := strings.Cut(strings.TrimPrefix(ref.(string), "everseal-"), "-")
		fmt.Println("a key for:", purpose)
	}
	// Output: a key for: account
}

// An account's key is changed, by an operator's tool or the server itself, while the server runs; then the account is given up.
func ExampleManager_Account() {
	ctx := context.Background()
	ca := acmetest.NewUnstartedServer()
	ca.OnAccount = func(a acmetest.Account) { fmt.Println(a.Status, a.Contact) }
	ca.Start()
	defer ca.Close()
	m, err := certmanager.New(certmanager.Config{
		Issuers:      []certmanager.Issuer{&certmanager.ACME{DirectoryURL: ca.URL, HTTPClient: ca.Client()}},
		AgreeToTerms: true,
		Email:        "old@example.com",
		Storage:      new(storage.Memory),
		Logger:       slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	account, err := m.Account("")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(account.UpdateContact(ctx, "new@example.com"))
	fmt.Println(account.ChangeKey(ctx))
	fmt.Println(account.Deactivate(ctx))
	// Output:
	// valid [mailto:old@example.com]
	// valid [mailto:new@example.com]
	// <nil>
	// valid [mailto:new@example.com]
	// <nil>
	// deactivated [mailto:new@example.com]
	// <nil>
}
