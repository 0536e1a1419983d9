package certmanager_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage/storagetest"
)

// accounts are those that a CA was seen to make.
type accounts struct {
	mu  sync.Mutex
	all []acmetest.Account
}

func (a *accounts) watch(ca *acmetest.Server) { ca.OnAccount = a.add }

func (a *accounts) add(account acmetest.Account) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = append(a.all, account)
}

// one returns the key, as a JWK, of the only account that was made.
func (a *accounts) one(t *testing.T) string {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.all) != 1 {
		t.Fatalf("%d accounts were made, want 1", len(a.all))
	}
	return string(a.all[0].Key)
}

func siteNames(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("site-%02d.example.com", i)
	}
	return names
}

func TestEightManagersMakeOneAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var made accounts
		w := newWorld(t, made.watch)
		names := siteNames(8)
		for _, name := range names {
			config := w.config(name)
			distant := &storagetest.Faulty{Store: w.store} // all look for the account before one makes it
			distant.SetFaults(storagetest.Fault{Kind: storagetest.Slow, Delay: 5 * time.Millisecond})
			config.Storage = distant
			_, stop := w.start(config)
			defer stop()
		}
		for _, name := range names {
			w.await(certmanager.EventObtained, name, 1)
		}
		made.one(t)
		if n := len(w.ca.Orders()); n != len(names) {
			t.Errorf("%d orders, want %d", n, len(names))
		}
		w.record("accounts")
	})
}

// TestKilledManagersMakeOneAccount kills eight managers that start at once, each at another of its first
// writes, among them that of the account's key and that of its URL.
func TestKilledManagersMakeOneAccount(t *testing.T) {
	for _, reaches := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var made accounts
			w := newWorld(t, made.watch)
			names := siteNames(8)
			var stops []func()
			for n, name := range names {
				dead := make(chan struct{})
				config := w.config(name)
				config.Storage = mortal(w.store, n, reaches, func(string) { close(dead) })
				m, err := certmanager.New(config)
				if err != nil {
					t.Fatal(err)
				}
				stops = append(stops, w.runUntil(m, dead))
			}
			for _, stop := range stops {
				stop()
			}
			_, stop := w.start(w.config(names...))
			defer stop()
			for _, name := range names {
				if _, err := w.handshakeWithin(name, 10*time.Minute); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			made.one(t)
			w.record("accounts")
		})
	}
}

func TestAccountKeyWithoutRegistration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var made accounts
		w := newWorld(t, made.watch)
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		value, err := json.Marshal(map[string]any{
			"version": 1, "directory": w.ca.URL,
			"key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		})
		if err != nil {
			t.Fatal(err)
		}
		id := (&certmanager.ACME{DirectoryURL: w.ca.URL}).ID()
		if _, err := w.store.Save(t.Context(), "accounts/"+id+"/default", value, ""); err != nil {
			t.Fatal(err)
		}
		_, stop := w.start(w.config("example.com"))
		defer stop()
		w.await(certmanager.EventObtained, "example.com", 1)
		var jwk jose.JSONWebKey
		if err := jwk.UnmarshalJSON([]byte(made.one(t))); err != nil {
			t.Fatal(err)
		}
		if !key.PublicKey.Equal(jwk.Key) {
			t.Error("another key was registered than the stored one")
		}
		if _, item := w.record("accounts"); !strings.Contains(string(item.Value), `/account/`) {
			t.Error("the account's URL was not stored")
		}
	})
}

// replaceCA puts a CA in the place of the world's that has its root and its URL but nothing else.
func (w *world) replaceCA(prepare ...func(*acmetest.Server)) {
	w.t.Helper()
	next := acmetest.NewUnstartedServer()
	next.Root, next.Dial, next.Lifetime = w.ca.Root, w.ca.Dial, w.ca.Lifetime
	for _, p := range prepare {
		p(next)
	}
	next.StartInMemory()
	w.t.Cleanup(next.Close)
	next.SetHost("*", "192.0.2.1")
	w.ca = next
}

func TestAccountLostByCA(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var before, after accounts
		w := newWorld(t, before.watch)
		_, stop := w.start(w.config("example.com"))
		w.await(certmanager.EventObtained, "example.com", 1)
		stop()
		w.replaceCA(after.watch)

		_, stop = w.start(w.config("example.com", "example.net", "example.org"))
		defer stop()
		for _, name := range []string{"example.net", "example.org"} {
			w.await(certmanager.EventObtained, name, 1)
			if _, err := w.handshake(t.Context(), name); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if before.one(t) != after.one(t) {
			t.Error("the account was made anew with another key")
		}
		if n := w.count(certmanager.EventFailed); n != 0 {
			t.Errorf("%d attempts failed", n)
		}
	})
}

// TestAccountLostWithOrderUnderWay stops a manager whose order waits for its certificate. The CA that it
// meets when it starts again knows neither the order nor the account.
func TestAccountLostWithOrderUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var before, after accounts
		w := newWorld(t, before.watch)
		front := w.front()
		front.answerWith(only("finalize", hang))
		config := w.config("example.com")
		acmeOf(config).HTTPClient = front.client()
		_, stop := w.start(config)
		time.Sleep(time.Minute)
		if front.count("finalize") == 0 {
			t.Fatal("the order did not come to be finalized")
		}
		stop()
		w.replaceCA(after.watch)

		_, stop = w.start(w.config("example.com"))
		defer stop()
		w.await(certmanager.EventObtained, "example.com", 1)
		if before.one(t) != after.one(t) {
			t.Error("the account was made anew with another key")
		}
		if n := w.count(certmanager.EventFailed); n != 0 {
			t.Errorf("%d attempts failed", n)
		}
		if n := len(w.ca.Certificates()); n != 1 {
			t.Errorf("%d certificates, want 1", n)
		}
	})
}

// TestAccountUnknownForAMoment has a replica of the CA that has not heard of the account yet: the order that is
// under way is resumed, whether this attempt has made it or an earlier one.
func TestAccountUnknownForAMoment(t *testing.T) {
	for _, resource := range []string{"authorization", "order", "certificate"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			unknown := acmetest.Next(2, w.ca.Problem(http.StatusBadRequest, "accountDoesNotExist", "no such account"))
			w.ca.SetFaults(acmetest.On(resource, unknown))
			_, stop := w.start(w.config("example.com"))
			defer stop()
			w.await(certmanager.EventObtained, "example.com", 1)
			if failed, orders := w.count(certmanager.EventFailed), len(w.ca.Orders()); failed > 0 || orders != 1 {
				t.Errorf("%s: %d attempts failed, %d orders", resource, failed, orders)
			}
		})
	}
}

func TestCorruptAccountRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		key := "accounts/" + (&certmanager.ACME{DirectoryURL: w.ca.URL}).ID() + "/default"
		if _, err := w.store.Save(t.Context(), key, []byte("{half a rec"), ""); err != nil {
			t.Fatal(err)
		}
		_, stop := w.start(w.config("example.com"))
		defer stop()
		failed := w.await(certmanager.EventFailed, "example.com", 1)
		if text := failed.Err.Error(); !strings.Contains(text, key) || !strings.Contains(text, "delete it") {
			t.Errorf("the error names neither the record nor the cure: %s", text)
		}
		item, err := w.store.Load(t.Context(), key)
		if err != nil || string(item.Value) != "{half a rec" {
			t.Errorf("the record is now %q, %v", item.Value, err)
		}
		if err := w.store.Delete(t.Context(), key, item.Revision); err != nil {
			t.Fatal(err)
		}
		w.await(certmanager.EventObtained, "example.com", 1) // without a restart
	})
}

func TestCommonNameForACAThatWantsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m, stop := w.serving(w.issuedBy([]certmanager.Issuer{&certmanager.ACME{
			DirectoryURL: w.ca.URL, AgreeToTerms: true, HTTPClient: w.ca.Client(), CommonName: true,
		}}, "example.com"))
		defer stop()
		certificate, err := ask(t, m, "example.com")
		if err != nil {
			t.Fatal(err)
		}
		if name := leafOf(t, certificate).Subject.CommonName; name != "example.com" {
			t.Errorf("the common name is %q", name)
		}
	})
}
