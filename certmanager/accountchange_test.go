package certmanager_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

// latest returns what the CA knows of the only account that was made.
func (a *accounts) latest(t *testing.T) acmetest.Account {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	byID := make(map[string]acmetest.Account)
	for _, account := range a.all {
		byID[account.ID] = account
	}
	if len(byID) != 1 {
		t.Fatalf("%d accounts were made, want 1", len(byID))
	}
	return slices.Collect(maps.Values(byID))[0]
}

func accountOf(t *testing.T, m *certmanager.Manager) *certmanager.Account {
	t.Helper()
	account, err := m.Account("")
	if err != nil {
		t.Fatal(err)
	}
	return account
}

func TestAccountOfNoIssuer(t *testing.T) {
	m, err := certmanager.New(certmanager.Config{Issuers: []certmanager.Issuer{newLocalCA(t, "local")}, Storage: new(storage.Memory)})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"", "local", "another"} {
		if _, err := m.Account(id); err == nil || !strings.Contains(err.Error(), "ACME") {
			t.Errorf("the account with %q: %v", id, err)
		}
	}
}

func TestUpdateContact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var made accounts
		w := newWorld(t, made.watch)
		m, err := certmanager.New(w.config("example.com"))
		if err != nil {
			t.Fatal(err)
		}
		account := accountOf(t, m)
		for _, emails := range [][]string{{"a@example.com", "b@example.com"}, {"c@example.com"}, nil} {
			if err := account.UpdateContact(t.Context(), emails...); err != nil {
				t.Fatal(err)
			}
			var want []string
			for _, email := range emails {
				want = append(want, "mailto:"+email)
			}
			if got := made.latest(t).Contact; !slices.Equal(got, want) {
				t.Errorf("the CA has the contact %q, want %q", got, want)
			}
		}
		for _, email := range []string{"", "no address", "mailto:a@example.com"} {
			if err := account.UpdateContact(t.Context(), email); err == nil {
				t.Errorf("%q is taken for an address", email)
			}
		}
	})
}

// TestChangeKey has one member of a fleet change the account's key, while another has the old one in memory.
func TestChangeKey(t *testing.T) {
	for _, elsewhere := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var made accounts
			w := newWorld(t, made.watch)
			config, keys := w.withKeys("example.com")
			if !elsewhere {
				config.Keys = nil
			}
			other, stop := w.serving(config)
			defer stop()
			before := string(made.latest(t).Key)
			m, err := certmanager.New(config)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := accountOf(t, m).ChangeKey(t.Context()); err != nil {
					t.Fatal(err)
				}
				after := string(made.latest(t).Key)
				if after == before {
					t.Error("the CA has the old key")
				}
				before = after
				if err := other.Renew(t.Context(), "example.com"); err != nil {
					t.Errorf("another member: %v", err)
				}
				if err := accountOf(t, other).UpdateContact(t.Context(), "a@example.com"); err != nil {
					t.Errorf("another member: %v", err)
				}
			}
			if n := w.count(certmanager.EventFailed); n != 0 {
				t.Errorf("%d attempts failed", n)
			}
			if n := checkNoLeak(t, w.store, keys.references(), "after ChangeKey"); elsewhere && n != 4 {
				t.Errorf("%d keys, want those of the account, the certificate, and two that it replaced", n)
			}
		})
	}
}

// TestChangeKeyKilled kills the process at each write of ChangeKey, before it or just after it, and has the CA's answer be lost:
// the next process uses the account, with the key that the CA knows, and can change it.
func TestChangeKeyKilled(t *testing.T) {
	for _, elsewhere := range []bool{false, true} {
		for _, reaches := range []bool{false, true} {
			done := false
			for n := 0; !done; n++ {
				if n > 100 {
					t.Fatal("ChangeKey takes more than 100 writes")
				}
				synctest.Test(t, func(t *testing.T) { done = killInChangeKey(t, n, reaches, elsewhere) })
			}
		}
	}
}

// killInChangeKey reports whether ChangeKey was done before the n-th write.
func killInChangeKey(t *testing.T, n int, reaches, elsewhere bool) (done bool) {
	var made accounts
	w := newWorld(t, made.watch)
	config, keys := w.withKeys("example.com")
	if !elsewhere {
		config.Keys = nil
	}
	_, stop := w.serving(config)
	stop()
	before := string(made.latest(t).Key)
	ctx, kill := context.WithCancel(t.Context())
	defer kill()
	dying := config
	last := ""
	dying.Storage = mortal(w.store, n, reaches, func(key string) {
		last = key
		kill()
	})
	m, err := certmanager.New(dying)
	if err != nil {
		t.Fatal(err)
	}
	done = accountOf(t, m).ChangeKey(ctx) == nil && ctx.Err() == nil

	m, stop = w.running(config)
	defer stop()
	if err := m.Renew(t.Context(), "example.com"); err != nil {
		t.Errorf("killed at write %d (%s): %v", n, last, err)
	}
	if after := string(made.latest(t).Key); done && after == before {
		t.Errorf("killed at write %d (%s): done, and the CA has the old key", n, last)
	}
	before = string(made.latest(t).Key)
	if err := accountOf(t, m).ChangeKey(t.Context()); err != nil {
		t.Errorf("killed at write %d (%s): ChangeKey: %v", n, last, err)
	}
	if string(made.latest(t).Key) == before {
		t.Errorf("killed at write %d (%s): the key was not changed after that", n, last)
	}
	if err := m.Renew(t.Context(), "example.com"); err != nil {
		t.Errorf("killed at write %d (%s): %v", n, last, err)
	}
	checkNoLeak(t, w.store, keys.references(), fmt.Sprintf("killed at write %d (%s)", n, last))
	return done
}

// TestChangeKeyAnswerLost has the CA change the key, and its answer, and those to all that is asked then, be lost.
func TestChangeKeyAnswerLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var made accounts
		w := newWorld(t, made.watch)
		_, stop := w.serving(w.config("example.com"))
		stop()
		before := string(made.latest(t).Key)
		config := w.config("example.com")
		acmeOf(config).HTTPClient = &http.Client{Transport: &losing{Transport: w.ca.Client().Transport, from: "keyChange"}}
		m, err := certmanager.New(config)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := accountOf(t, m).ChangeKey(ctx); err == nil {
			t.Fatal("ChangeKey succeeds without an answer")
		}
		if after := string(made.latest(t).Key); after == before {
			t.Fatal("the CA was to change the key")
		}
		m, stop = w.running(w.config("example.com"))
		defer stop()
		if err := m.Renew(t.Context(), "example.com"); err != nil {
			t.Error(err)
		}
		item, err := w.store.Load(t.Context(), "accounts/"+acmeOf(config).ID()+"/default")
		if err != nil || strings.Contains(string(item.Value), "nextKey") {
			t.Errorf("the record has two keys still, %v", err)
		}
	})
}

// losing is a transport that loses the answers from the first request to a resource on.
type losing struct {
	Transport http.RoundTripper
	from      string
	mu        sync.Mutex
	lost      bool
}

func (l *losing) RoundTrip(r *http.Request) (*http.Response, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost {
		return nil, errors.New("the network is down")
	}
	response, err := l.Transport.RoundTrip(r)
	if strings.Contains(r.URL.Path, l.from) {
		l.lost = true
		if err == nil {
			response.Body.Close()
		}
		return nil, errors.New("the connection was reset")
	}
	return response, err
}

// TestDeactivate ends the account: no other is made until its record is deleted, here or in another member, before and after a
// restart.
func TestDeactivate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var made accounts
		w := newWorld(t, made.watch)
		config, keys := w.withKeys("example.com")
		m, err := certmanager.New(config)
		if err != nil {
			t.Fatal(err)
		}
		if err := accountOf(t, m).Deactivate(t.Context()); err == nil || !strings.Contains(err.Error(), "there is none") {
			t.Errorf("Deactivate without an account: %v", err)
		}
		other, stop := w.serving(config)
		if err := accountOf(t, m).Deactivate(t.Context()); err != nil {
			t.Fatal(err)
		}
		if status := made.latest(t).Status; status != acme.StatusDeactivated {
			t.Errorf("the account is %s", status)
		}
		if err := accountOf(t, m).Deactivate(t.Context()); err != nil {
			t.Errorf("Deactivate once more: %v", err)
		}
		key := "accounts/" + acmeOf(config).ID() + "/default"
		checkDeactivated := func(err error) {
			t.Helper()
			if err == nil || !strings.Contains(err.Error(), "delete the stored record "+key) || !strings.Contains(err.Error(), "was deactivated at 2000-01-01T") {
				t.Errorf("the error does not say what to do: %v", err)
			}
		}
		checkDeactivated(other.Renew(t.Context(), "example.com"))
		checkDeactivated(accountOf(t, m).ChangeKey(t.Context()))
		stop()
		other, stop = w.running(config)
		defer stop()
		checkDeactivated(other.Renew(t.Context(), "example.com"))
		if left := strings.Join(keys.references(), " "); strings.Contains(left, "account") {
			t.Errorf("the account's key is left: %s", left)
		}
		made.latest(t) // the only one
		item, err := w.store.Load(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.store.Delete(t.Context(), key, item.Revision); err != nil {
			t.Fatal(err)
		}
		time.Sleep(48 * time.Hour) // by then it was tried again
		if err := other.Renew(t.Context(), "example.com"); err != nil {
			t.Errorf("after the record was deleted: %v", err)
		}
	})
}

// TestDeactivateKilled kills the process at each write of Deactivate. Called again, it comes to the same end.
func TestDeactivateKilled(t *testing.T) {
	for _, reaches := range []bool{false, true} {
		done := false
		for n := 0; !done; n++ {
			if n > 100 {
				t.Fatal("Deactivate takes more than 100 writes")
			}
			synctest.Test(t, func(t *testing.T) {
				var made accounts
				w := newWorld(t, made.watch)
				config, keys := w.withKeys("example.com")
				_, stop := w.serving(config)
				stop()
				ctx, kill := context.WithCancel(t.Context())
				defer kill()
				dying := config
				dying.Storage = mortal(w.store, n, reaches, func(string) { kill() })
				m, err := certmanager.New(dying)
				if err != nil {
					t.Fatal(err)
				}
				done = accountOf(t, m).Deactivate(ctx) == nil && ctx.Err() == nil
				if m, err = certmanager.New(config); err != nil {
					t.Fatal(err)
				}
				if err := accountOf(t, m).Deactivate(t.Context()); err != nil {
					t.Errorf("killed at write %d: %v", n, err)
				}
				if status, left := made.latest(t).Status, keys.references(); status != acme.StatusDeactivated || len(left) != 1 {
					t.Errorf("killed at write %d: the account is %s, and the keys are %q", n, status, left)
				}
			})
		}
	}
}

// slowKeys take a while to make a key, and make two if they are asked twice meanwhile, as tokens do.
type slowKeys struct{ *memoryKeys }

func (k slowKeys) Create(ctx context.Context, ref string, kind certmanager.KeyType) (crypto.Signer, error) {
	if key, err := k.Open(ctx, ref); err == nil {
		return key, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	time.Sleep(time.Second)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys[ref] = key
	return key, nil
}

// TestEightManagersMakeOneKey has eight members start at once on a token that can't tell which of two keys is the right one.
func TestEightManagersMakeOneKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var made accounts
		w := newWorld(t, made.watch)
		keys := newMemoryKeys()
		names := siteNames(8)
		for _, name := range names {
			config := w.config(name)
			config.Keys = slowKeys{keys}
			config.Storage = &storagetest.Faulty{Store: w.store}
			_, stop := w.start(config)
			defer stop()
		}
		for _, name := range names {
			w.await(certmanager.EventObtained, name, 1)
		}
		made.one(t)
		if n := w.count(certmanager.EventFailed); n != 0 {
			t.Errorf("%d attempts failed", n)
		}
	})
}

// TestKeyOfAnExpiredCertificate has no successor come for long: the key stays for as long as the certificate is served.
func TestKeyOfAnExpiredCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		config, keys := w.withKeys("example.com")
		_, stop := w.serving(config)
		defer stop()
		first := refOf(t, w.store, "example.com")
		w.ca.Refuse("example.com")
		time.Sleep(120 * 24 * time.Hour)
		if !slices.Contains(keys.references(), first) {
			t.Error("the key of a certificate that is served was deleted")
		}
		if n := checkNoLeak(t, w.store, keys.references(), "after a month without renewals"); n > 3 {
			t.Errorf("%d keys are left", n)
		}
	})
}

// TestUnusedKeysOfTwoMembers has one member change the account's key while another deletes a former one.
func TestUnusedKeysOfTwoMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		config, keys := w.withKeys("example.com")
		m, stop := w.serving(config)
		stop()
		full := errors.New("the HSM is busy")
		fail := func(method, _ string) error {
			if method == "Delete" {
				return full
			}
			return nil
		}
		keys.setFault(fail)
		if err := accountOf(t, m).ChangeKey(t.Context()); !errors.Is(err, full) {
			t.Fatal(err)
		}
		other, err := certmanager.New(config)
		if err != nil {
			t.Fatal(err)
		}
		keys.setFault(func(method, _ string) error {
			if method == "Delete" {
				keys.setFault(fail)
				if err := accountOf(t, m).ChangeKey(t.Context()); !errors.Is(err, full) {
					t.Error(err)
				}
			}
			return nil
		})
		if err := accountOf(t, other).UpdateContact(t.Context()); err != nil {
			t.Fatal(err)
		}
		keys.setFault(nil)
		checkNoLeak(t, w.store, keys.references(), "two members at once")
	})
}
