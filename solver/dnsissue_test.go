package solver_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/internal/solvertest"
	"github.com/everseal/everseal/storage"
)

// A dnsWorld is a CA, an account there, and zones in which the CA sees what the provider sets.
type dnsWorld struct {
	*zoneProvider
	client *acme.Client
	store  *storage.Memory
}

// inDNSWorld runs f in a bubble. The CA sees a record when the slower of the zone's servers has it, ten seconds
// late.
func inDNSWorld(t *testing.T, configure func(*acmetest.Server), f func(t *testing.T, w *dnsWorld)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ca := acmetest.NewUnstartedServer()
		configure(ca)
		ca.StartInMemory()
		t.Cleanup(ca.Close)
		zones := newZones(solvertest.NewMemoryDNS(t), "example.com", "example.net")
		zones.ca = ca
		zones.spread = func(r solver.Record, set func()) {
			zones.zones[r.Zone][0].Add(r.Name, "TXT", r.Value)
			time.AfterFunc(10*time.Second, func() {
				zones.zones[r.Zone][0].Remove(r.Name, "TXT", r.Value)
				set()
			})
		}
		w := &dnsWorld{zones, &acme.Client{DirectoryURL: ca.URL, HTTPClient: ca.Client(), Key: newECKey(t)}, new(storage.Memory)}
		if _, err := w.client.Register(t.Context(), acme.Registration{AgreeToTerms: true}); err != nil {
			t.Fatal(err)
		}
		f(t, w)
	})
}

func newECKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func offering(challengeType string) func(*acmetest.Server) {
	return func(ca *acmetest.Server) { ca.Challenges = []string{challengeType} }
}

// issue obtains a certificate for names by a solver, and has nothing go wrong in the clean-up.
func (w *dnsWorld) issue(t *testing.T, s acme.Solver, names ...string) error {
	r := acme.Request{
		Key:           newECKey(t),
		Solvers:       []acme.Solver{s},
		CleanUpFailed: func(_ acme.Proof, err error) { t.Error(err) },
	}
	for _, name := range names {
		id, err := acme.ParseIdentifier(name)
		if err != nil {
			return err
		}
		r.Identifiers = append(r.Identifiers, id)
	}
	certificate, err := w.client.Issue(t.Context(), r)
	if err != nil {
		return err
	}
	if got := slices.Sorted(slices.Values(certificate.Leaf.DNSNames)); !slices.Equal(got, slices.Sorted(slices.Values(names))) {
		t.Errorf("the certificate is for %q, want %q", got, names)
	}
	return nil
}

// wantClean checks that zones and storage are as they were.
func (w *dnsWorld) wantClean(t *testing.T, names ...string) {
	t.Helper()
	w.wantRecords(t)
	for _, name := range names {
		if values := w.dns.TXT(name); len(values) > 0 {
			t.Errorf("%s has %q left", name, values)
		}
	}
	if keys := keysOf(t, w.store); len(keys) > 0 {
		t.Errorf("%q are left in the storage", keys)
	}
}

func (w *dnsWorld) dns01() *solver.DNS01 {
	return &solver.DNS01{Provider: w, Storage: w.store, DNS: dnsOf(w.dns)}
}

// The first validation succeeds, or the order would not: a CA gives no second try.
func TestIssueByDNS(t *testing.T) {
	for challengeType, use := range map[string]func(*solver.DNS01) acme.Solver{
		acme.TypeDNS01:        func(d *solver.DNS01) acme.Solver { return d },
		acme.TypeDNSAccount01: func(d *solver.DNS01) acme.Solver { return (*solver.DNSAccount01)(d) },
	} {
		t.Run(challengeType, func(t *testing.T) {
			inDNSWorld(t, offering(challengeType), func(t *testing.T, w *dnsWorld) {
				if err := w.issue(t, use(w.dns01()), "example.com", "*.example.com", "a.b.example.com"); err != nil {
					t.Error(err)
				}
				w.wantClean(t, "_acme-challenge.example.com", "_acme-challenge.a.b.example.com")
			})
		})
	}
}

func TestIssueByDNSDelegated(t *testing.T) {
	inDNSWorld(t, offering(acme.TypeDNS01), func(t *testing.T, w *dnsWorld) {
		w.zoneProvider.add("example.com", "_acme-challenge.example.com", "CNAME", "abc.example.net")
		w.zoneProvider.add("example.com", "*.example.com", "CNAME", "site.example.net")
		w.aliases["abc.example.net"] = "_acme-challenge.example.com"
		d := w.dns01()
		d.FollowCNAME = true
		if err := w.issue(t, d, "example.com", "*.example.com", "a.b.example.com"); err != nil {
			t.Error(err)
		}
		w.wantClean(t, "abc.example.net", "site.example.net")
	})
}

func TestIssueByDNSManyOrdersAtOnce(t *testing.T) {
	inDNSWorld(t, offering(acme.TypeDNS01), func(t *testing.T, w *dnsWorld) {
		d := w.dns01()
		var issuing sync.WaitGroup
		for range 10 {
			issuing.Go(func() {
				if err := w.issue(t, d, "example.com", "*.example.com"); err != nil {
					t.Error(err)
				}
			})
		}
		issuing.Wait()
		w.wantClean(t, "_acme-challenge.example.com")
	})
}

// Solvers for one zone each share an order.
func TestIssueByDNSWithASolverForEachZone(t *testing.T) {
	inDNSWorld(t, offering(acme.TypeDNS01), func(t *testing.T, w *dnsWorld) {
		first, second := w.dns01(), w.dns01()
		first.Zone, second.Zone = "example.com", "example.net"
		certificate, err := w.client.Issue(t.Context(), acme.Request{
			Identifiers:   []acme.Identifier{{Type: acme.TypeDNS, Value: "example.com"}, {Type: acme.TypeDNS, Value: "*.example.net"}},
			Key:           newECKey(t),
			Solvers:       []acme.Solver{first, second},
			CleanUpFailed: func(_ acme.Proof, err error) { t.Error(err) },
		})
		if err != nil || len(certificate.Leaf.DNSNames) != 2 {
			t.Errorf("no certificate for both: %v", err)
		}
		w.wantClean(t, "_acme-challenge.example.com", "_acme-challenge.example.net")
	})
}

// Both formats of the drafts are understood.
func TestIssueByDNSPersist(t *testing.T) {
	for _, hashed := range []bool{false, true} {
		configure := func(ca *acmetest.Server) { ca.Challenges, ca.HashedAccounts = []string{acme.TypeDNSPersist01}, hashed }
		inDNSWorld(t, configure, func(t *testing.T, w *dnsWorld) {
			d := &solver.DNSPersist01{DNS: dnsOf(w.dns)}
			err := w.issue(t, d, "example.com", "*.example.com")
			missing, ok := errors.AsType[*solver.StandingRecordError](err)
			if !ok {
				t.Fatalf("hashed %t: the error is %v", hashed, err)
			}

			// Whoever does as it says gets the certificate.
			r := missing.Record
			if !strings.Contains(r.Value, "; policy=wildcard") { // of both the one that does for both
				r.Value += "; policy=wildcard"
			}
			w.zoneProvider.add("example.com", r.Name, "TXT", r.Value)
			w.ca.SetTXT(r.Name, r.Value)
			if err := w.issue(t, d, "example.com", "*.example.com"); err != nil {
				t.Errorf("hashed %t: %v", hashed, err)
			}

			// The Provider sets it, once for many orders.
			d.Provider = w
			for range 3 {
				if err := w.issue(t, d, "example.net"); err != nil {
					t.Errorf("hashed %t: %v", hashed, err)
				}
			}
			w.wantCalls(t, "append _validation-persist.example.net in example.net")
			if keys := keysOf(t, w.store); len(keys) > 0 {
				t.Errorf("%q are left in the storage", keys)
			}
		})
	}
}

// A record in which the account is hashed for any domain is as good for the solver as it is for the CA.
func TestIssueByDNSPersistForAnyDomain(t *testing.T) {
	configure := func(ca *acmetest.Server) { ca.Challenges, ca.HashedAccounts = []string{acme.TypeDNSPersist01}, true }
	inDNSWorld(t, configure, func(t *testing.T, w *dnsWorld) {
		d := &solver.DNSPersist01{DNS: dnsOf(w.dns)}
		missing, ok := errors.AsType[*solver.StandingRecordError](w.issue(t, d, "example.com"))
		if !ok {
			t.Fatal("nothing is to be set")
		}
		thumbprint, err := w.client.Thumbprint()
		if err != nil {
			t.Fatal(err)
		}
		account, err := w.client.GetAccount(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		digest := sha256.Sum256([]byte("\x01*" + thumbprint + account.URL))
		before, _, _ := strings.Cut(missing.Record.Value, "sha-256/")
		text := before + "sha-256/" + base64.RawURLEncoding.EncodeToString(digest[:]) + "; policy=wildcard"
		for _, zone := range []string{"example.com", "example.net"} { // the same text for both
			name := "_validation-persist." + zone
			w.zoneProvider.add(zone, name, "TXT", text)
			w.ca.SetTXT(name, text)
			if err := w.issue(t, d, zone, "*."+zone); err != nil {
				t.Error(err)
			}
		}
	})
}
