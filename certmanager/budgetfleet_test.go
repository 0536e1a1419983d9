package certmanager

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/ca"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

// A countingCA counts as Let's Encrypt's does: orders when they are made, and certificates when they are issued. It signs by
// itself.
type countingCA struct {
	limits   Limits
	exempts  bool          // replacements (RFC 9773 §5)
	lifetime time.Duration // of certificates

	mu       sync.Mutex
	replaced map[string]bool      // by serial number
	full     map[string]time.Time // by what is counted: when its bucket is full again
	excesses int
	issued   int
}

// admit counts, or only checks, one more in a bucket, and reports whether there is room.
func (c *countingCA) admit(what string, l Limit, count bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, each := time.Now(), l.Per/time.Duration(l.Count)
	full := c.full[what]
	if full.Before(now) {
		full = now
	}
	if full = full.Add(each); full.Sub(now) > l.Per {
		c.excesses++
		return false
	}
	if count {
		c.full[what] = full
	}
	return true
}

// replace reports whether the certificate may be replaced by an order that does not count: it is asked for the first time, and
// in the last half of the lifetime.
func (c *countingCA) replace(old *x509.Certificate) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if serial := old.SerialNumber.String(); time.Until(old.NotAfter) < c.lifetime/2 && !c.replaced[serial] {
		c.replaced[serial] = true
		return true
	}
	c.excesses++
	return false
}

// order makes an order and issues its certificate some seconds later, or refuses.
func (c *countingCA) order(ids []acme.Identifier, replaces *x509.Certificate) error {
	if replaces != nil && c.exempts {
		if !c.replace(replaces) {
			return &acme.Problem{Type: acme.ErrRateLimited, Status: 429, RetryAfter: time.Hour}
		}
		c.issue()
		return nil
	}
	if !c.admit("orders", c.limits.NewOrders, true) || !c.admit(registeredDomain(ids[0]), c.limits.CertificatesPerDomain, false) || !c.admit(ids[0].Value, c.limits.CertificatesPerSet, false) {
		return &acme.Problem{Type: acme.ErrRateLimited, Status: 429, RetryAfter: time.Hour}
	}
	time.Sleep(rand.N(20 * time.Second))
	c.admit(registeredDomain(ids[0]), c.limits.CertificatesPerDomain, true)
	c.admit(ids[0].Value, c.limits.CertificatesPerSet, true)
	c.issue()
	return nil
}

func (c *countingCA) issue() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.issued++
}

// A payingIssuer is an issuer of one's own that has budgets, at work for one manager.
type payingIssuer struct {
	*localAuthority
	*budgets
	remote *countingCA
}

func (p *payingIssuer) Issue(ctx context.Context, r Request) (*acme.Certificate, error) {
	w := r.waiter
	w.identifiers = r.Identifiers
	if !p.remote.exempts || r.Replaces == nil {
		if _, err := p.take(ctx, w, false); err != nil {
			return nil, err
		}
	}
	if err := p.remote.order(r.Identifiers, r.Replaces); err != nil {
		return nil, err
	}
	return p.localAuthority.Issue(ctx, r)
}

// A payingCA is that issuer, for the configuration.
type payingCA struct {
	LocalCA
	remote *countingCA
}

func (p *payingCA) Bind(s Services) (Issuer, error) {
	local, err := p.open(s.Storage)
	if err != nil {
		return nil, err
	}
	var known ca.CA
	if p.remote.exempts {
		known.Limits.Renewals = 120 * 24 * time.Hour
	}
	b := newBudgets(&ACME{DirectoryURL: "https://ca.example/directory", Limits: p.remote.limits}, known, s.Storage)
	return &payingIssuer{local, b, p.remote}, nil
}

// A pacedFleet is managers on one storage, and when their certificates came.
type pacedFleet struct {
	store    *storagetest.Faulty
	remote   *countingCA
	managers []*Manager
	stop     func()

	mu       sync.Mutex
	obtained map[string][]time.Time // by name; guarded by mu
}

func startPacedFleet(t *testing.T, remote *countingCA, members int) *pacedFleet {
	t.Helper()
	remote.full, remote.replaced = make(map[string]time.Time), make(map[string]bool)
	f := &pacedFleet{store: new(storagetest.Faulty), remote: remote, obtained: make(map[string][]time.Time)}
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for range members {
		m, err := New(Config{
			Issuers: []Issuer{&payingCA{LocalCA{Lifetime: remote.lifetime}, remote}}, Storage: f.store, Logger: slog.New(slog.DiscardHandler), OnEvent: f.note,
		})
		if err != nil {
			t.Fatal(err)
		}
		f.managers = append(f.managers, m)
		group.Go(func() {
			if err := m.Run(ctx); err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
	f.stop = func() { cancel(); group.Wait() }
	return f
}

func (f *pacedFleet) note(e Event) {
	if e.Kind != EventObtained {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.obtained[e.Names[0]] = append(f.obtained[e.Names[0]], e.Time)
}

func (f *pacedFleet) manage(t *testing.T, format string, n, domains int) {
	t.Helper()
	var subjects []Subject
	for i := range n {
		subjects = append(subjects, Subject{Names: []string{fmt.Sprintf(format, i, i%domains)}})
	}
	for _, m := range f.managers {
		if err := m.Manage(subjects...); err != nil {
			t.Fatal(err)
		}
	}
}

// count returns how many names have a certificate, and how many have had two.
func (f *pacedFleet) count() (once, twice int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, times := range f.obtained {
		once++
		if len(times) > 1 {
			twice++
		}
	}
	return once, twice
}

// checkSlots checks that who waits is told when it is due, of each manager one after another.
func (f *pacedFleet) checkSlots(t *testing.T) {
	t.Helper()
	for _, m := range f.managers {
		waiting, now := map[time.Time]int{}, time.Now()
		for s := range m.All() {
			if s.State != StateWaiting {
				continue
			}
			waiting[s.Next]++
			if s.Reason != ReasonBudget || !s.Next.After(now) || waiting[s.Next] > 1 {
				t.Errorf("%s: %s, due %v from now, as %d others: %q", s.Names[0], s.Reason, s.Next.Sub(now), waiting[s.Next]-1, s.Deferred)
				return
			}
		}
		if len(waiting) == 0 {
			t.Error("no name waits")
		}
	}
}

// Six hundred new names of eighteen domains, on two members, while forty certificates are to be renewed: the CA refuses
// none, no renewal is late, and the new names come as fast as the limits let them.
func TestFleetPacesNewNames(t *testing.T) {
	names, domains := 600, 18
	if underRace {
		names, domains = 100, 3
	}
	limits := Limits{
		NewOrders: Limit{Count: names / 7, Per: 3 * time.Hour}, CertificatesPerDomain: Limit{Count: 50, Per: 7 * 24 * time.Hour}, CertificatesPerSet: Limit{Count: 5, Per: 7 * 24 * time.Hour},
	}
	synctest.Test(t, func(t *testing.T) {
		f := startPacedFleet(t, &countingCA{limits: limits, lifetime: 90 * 24 * time.Hour}, 2)
		defer f.stop()
		const old = 40
		f.manage(t, "old%d.former%d.example", old, old)
		time.Sleep(60*24*time.Hour - 36*time.Hour)
		if once, _ := f.count(); once != old {
			t.Fatalf("%d old names have a certificate", once)
		}
		due := make(map[string]time.Time)
		for s := range f.managers[0].All() {
			due[s.Names[0]] = s.Next
		}
		f.manage(t, "new%d.domain%d.example", names, domains)
		begun, calls := time.Now(), f.store.Calls(storagetest.Load|storagetest.Writes)
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		f.checkSlots(t)
		for once := 0; once < old+names; once, _ = f.count() {
			if time.Since(begun) > 60*time.Hour {
				t.Fatalf("%d of %d names have a certificate after 60 hours", once, old+names)
			}
			time.Sleep(time.Hour)
		}
		took := time.Since(begun)
		_, renewed := f.count()
		calls = f.store.Calls(storagetest.Load|storagetest.Writes) - calls
		t.Logf("%d names, and %d renewals, in %v; %d calls of the storage", names, renewed, took, calls)
		tokens := names + renewed - limits.NewOrders.Count*9/10
		if least := limits.NewOrders.Per * time.Duration(tokens) / time.Duration(limits.NewOrders.Count); took > least*11/10+time.Hour {
			t.Errorf("%d names take %v, and the CA lets them in %v", names, took, least)
		}
		if calls > 40*(names+old) {
			t.Errorf("%d calls of the storage", calls)
		}
		time.Sleep(5 * 24 * time.Hour)
		synctest.Wait()
		f.remote.mu.Lock()
		defer f.remote.mu.Unlock()
		if f.remote.excesses > 0 || f.remote.issued != names+2*old {
			t.Errorf("%d excesses, and %d certificates, want %d", f.remote.excesses, f.remote.issued, names+2*old)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		for name, at := range due {
			if times := f.obtained[name]; len(times) < 2 || times[1].After(at.Add(3*limits.NewOrders.Per/time.Duration(limits.NewOrders.Count))) {
				t.Errorf("%s is renewed at %v, due at %v", name, times, at)
			}
		}
	})
}

// The CA's words on its limits, as Let's Encrypt and the test CA have them.
func TestLimitOf(t *testing.T) {
	limit := Limit{Count: 50, Per: 7 * 24 * time.Hour}
	b := newBudgets(&ACME{DirectoryURL: "https://ca.example/directory", Limits: Limits{limit, limit, limit, limit, limit}}, ca.CA{}, new(storage.Memory))
	ids := []acme.Identifier{{Type: acme.TypeDNS, Value: "www.example.com"}, {Type: acme.TypeDNS, Value: "*.example.co.uk"}, {Type: acme.TypeIP, Value: "2001:db8:1:2::3"}}
	const see = ", retry after 2026-11-01 12:00:00 UTC: see https://letsencrypt.org/docs/rate-limits/"
	for detail, want := range map[string]string{
		"too many new orders (300) from this account in the last 3h0m0s" + see + "#new-orders-per-account":                                                         "orders",
		"too many requests" + see + "#new-orders-per-account":                                                                                                      "orders",
		`too many certificates (50) already issued for "example.com" in the last 168h0m0s` + see + "#new-certificates-per-registered-domain":                       "domain/example.com",
		`too many certificates (50) already issued for "example.co.uk" in the last 168h0m0s` + see + "#new-certificates-per-registered-domain":                     "domain/example.co.uk",
		`too many certificates (50) already issued for "2001:db8:1:2::/64" in the last 168h0m0s`:                                                                   "domain/2001:db8:1:2::",
		"too many certificates already" + see + "#new-certificates-per-registered-domain":                                                                          "",
		"too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s" + see + "#new-certificates-per-exact-set-of-identifiers": "set/" + record.SetName(namesOf(ids)),
		"too many certificates (5) already issued for this exact set of domains in the last 168h0m0s" + see + "#new-certificates-per-exact-set-of-hostnames":       "set/" + record.SetName(namesOf(ids)),
		`too many failed authorizations (5) for "www.example.com" in the last 1h0m0s` + see + "#authorization-failures-per-identifier-per-account":                 "failures/www.example.com",
		`too many failed authorizations (5) for "example.co.uk" in the last 1h0m0s`:                                                                                "failures/example.co.uk",
		"too many new registrations (10) from this IP address in the last 3h0m0s" + see + "#new-registrations-per-ip-address":                                      "",
		"Service busy; retry later.": "",
	} {
		err := fmt.Errorf("acme: new order: %w", &acme.Problem{Type: acme.ErrRateLimited, Status: 429, Detail: detail})
		p, ok := b.limitOf(err, ids)
		if wantKey := "budgets/" + (&ACME{DirectoryURL: "https://ca.example/directory"}).ID() + "/default/" + want; ok != (want != "") || ok && p.key != wantKey {
			t.Errorf("%s: %v, %s, want %q", detail, ok, p.key, want)
		}
	}
}

// What is a pause, and where it says to go.
func TestPauseOf(t *testing.T) {
	for detail, want := range map[string]string{
		"Your account is temporarily prevented from requesting certificates for example.com. Please visit: https://portal.example/sfe/v1/unpause?jwt=eyJ.x.y": "https://portal.example/sfe/v1/unpause?jwt=eyJ.x.y",
		"please visit <http://portal.example/u>.":                         "http://portal.example/u",
		"Please visit: javascript:alert(1)":                               "",
		"Please visit: https://user:pass@portal.example/":                 "",
		"Please visit: https://portal.example/\x1b[31m":                   "",
		"orders for example.com are paused":                               "",
		"Please visit: https://portal.example/" + string(make([]byte, 9)): "",
	} {
		paused := pauseOf(&acme.Problem{Type: acme.ErrRateLimited, Status: 429, Detail: detail})
		if paused == nil || paused.page != want {
			t.Errorf("%q: %+v, want %q", detail, paused, want)
		}
	}
	for _, none := range []error{
		&acme.Problem{Type: acme.ErrRateLimited, Status: 429, Detail: "too many new orders: see https://letsencrypt.org/docs/rate-limits/"},
		&acme.Problem{Type: acme.ErrRateLimited, Status: 429, Detail: "Please visit: https://portal.example", RetryAfter: time.Hour},
		&acme.Problem{Type: acme.ErrUserActionRequired, Status: 403, Detail: "Please visit: https://portal.example"},
		fmt.Errorf("please visit https://portal.example"), nil,
	} {
		if paused := pauseOf(none); paused != nil {
			t.Errorf("%v: is a pause", none)
		}
	}
}

// Budgets are counted by what the CA counts by.
func TestRegisteredDomain(t *testing.T) {
	for value, want := range map[string]string{
		"www.example.com": "example.com", "*.www.example.co.uk": "example.co.uk", "example.com": "example.com", "com": "com",
		"192.0.2.1": "192.0.2.1", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::",
	} {
		id, err := acme.ParseIdentifier(value)
		if err != nil {
			id = acme.Identifier{Type: acme.TypeDNS, Value: value}
		}
		if got := registeredDomain(id); got != want {
			t.Errorf("%s: %s, want %s", value, got, want)
		}
	}
}
