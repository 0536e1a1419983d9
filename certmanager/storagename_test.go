package certmanager_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// A namedStore says what it is called; its field is nobody's business.
type namedStore struct {
	storage.Store
	password string
}

func (namedStore) String() string { return "the rack in the cellar" }

// An unnamedStore does not.
type unnamedStore struct {
	storage.Store
	password string
}

// The log says with which storage and which issuers a manager works, and nothing that may be secret of them.
func TestStartIsTold(t *testing.T) {
	t.Chdir(t.TempDir())
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	memory := new(storage.Memory)
	keys, err := storage.SealingKeys(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	sealed := &storage.Sealed{Store: storage.Dir(here), Keys: keys}
	for want, s := range map[string]storage.Store{
		filepath.Join(here, "certs"):                                storage.Dir("certs"),
		"*storage.Memory":                                           memory,
		`"*storage.Sealed of ` + here + `"`:                         sealed,
		`"*storage.CachedStore of *storage.Sealed of ` + here + `"`: storage.Cached(sealed, storage.Dir("copies")),
		`"the rack in the cellar"`:                                  namedStore{memory, "geheimnis"},
		"certmanager_test.unnamedStore":                             unnamedStore{memory, "geheimnis"},
	} {
		var l logs
		m, err := certmanager.New(certmanager.Config{
			Storage: s, Logger: l.logger(), Issuers: []certmanager.Issuer{new(certmanager.LocalCA), &certmanager.ACME{DirectoryURL: "https://ca.example/acme/directory"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := m.Run(ctx); err != nil {
			t.Fatal(err)
		}
		requireLine(t, &l, "the manager runs", "storage="+want+" ", `issuers="[`+new(certmanager.LocalCA).ID()+" ca.example-")
	}
}
