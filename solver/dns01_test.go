package solver_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/internal/solvertest"
	"github.com/everseal/everseal/storage"
)

// inZones runs f in a bubble with a DNS01 whose provider edits the zones of a DNS in memory.
func inZones(t *testing.T, zones []string, f func(t *testing.T, d *solver.DNS01, p *zoneProvider)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		dns := solvertest.NewMemoryDNS(t)
		p := newZones(dns, zones...)
		f(t, &solver.DNS01{Provider: p, Storage: new(storage.Memory), DNS: dnsOf(dns)}, p)
	})
}

func TestDNSChallenges(t *testing.T) {
	for challengeType, use := range map[string]func(*solver.DNS01) acme.Solver{
		acme.TypeDNS01:        func(d *solver.DNS01) acme.Solver { return d },
		acme.TypeDNSAccount01: func(d *solver.DNS01) acme.Solver { return (*solver.DNSAccount01)(d) },
	} {
		t.Run(challengeType, func(t *testing.T) {
			inZones(t, []string{"example.com"}, func(t *testing.T, d *solver.DNS01, p *zoneProvider) {
				s := use(d)
				if s.Type() != challengeType {
					t.Errorf("the type is %q", s.Type())
				}
				proof := solvertest.NewProof(challengeType, "www.example.com")
				name, value := txtOf(t, proof)
				solvertest.Present(t, s, proof)
				solvertest.Present(t, s, proof) // again is no error
				p.wantRecords(t, solver.Record{Zone: "example.com", Name: name, Value: value, TTL: time.Minute})
				begun := time.Now()
				if err := wait(t.Context(), s, proof); err != nil || time.Since(begun) != 0 {
					t.Errorf("after %v: %v", time.Since(begun), err)
				}
				solvertest.CleanUp(t, s, proof)
				solvertest.CleanUp(t, s, proof)
				p.wantRecords(t)
				p.wantCalls(t, "append "+name+" in example.com", "append "+name+" in example.com", "delete "+name+" in example.com")
				if keys := keysOf(t, d.Storage); len(keys) > 0 {
					t.Errorf("%q are left in the storage", keys)
				}
			})
		})
	}
}

// The wait is for every server, and for the name that the CA asks.
func TestDNS01WaitsForSlowServers(t *testing.T) {
	inZones(t, []string{"example.com", "validation.example.net"}, func(t *testing.T, d *solver.DNS01, p *zoneProvider) {
		d.FollowCNAME = true
		p.add("example.com", "_acme-challenge.example.com", "CNAME", "abc.validation.example.net")
		p.spread = func(r solver.Record, set func()) {
			p.zones[r.Zone][0].Add(r.Name, "TXT", r.Value)
			time.AfterFunc(10*time.Second, func() { p.zones[r.Zone][1].Add(r.Name, "TXT", r.Value) })
		}
		proof := solvertest.NewProof(acme.TypeDNS01, "example.com")
		_, value := txtOf(t, proof)
		solvertest.Present(t, d, proof)
		p.wantRecords(t, solver.Record{Zone: "validation.example.net", Name: "abc.validation.example.net", Value: value, TTL: time.Minute})
		begun := time.Now()
		if err := d.Wait(t.Context(), proof); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took < 10*time.Second || took > 20*time.Second {
			t.Errorf("the wait took %v", took)
		}
		if n := p.zones["validation.example.net"][1].Asked("abc.validation.example.net", "TXT"); n < 2 {
			t.Errorf("the slow server was asked %d times", n)
		}
	})
}

func TestDNS01ValuesSideBySide(t *testing.T) {
	inZones(t, []string{"example.com"}, func(t *testing.T, d *solver.DNS01, p *zoneProvider) {
		p.add("example.com", "_acme-challenge.example.com", "TXT", "somebody else's")
		base := solvertest.NewProof(acme.TypeDNS01, "example.com")
		wildcard := solvertest.WithToken(base, "the_wildcards_token")
		wildcard.Wildcard = true
		other := solvertest.WithToken(base, "another_orders_token")
		solvertest.Present(t, d, base)
		solvertest.Present(t, d, wildcard)
		solvertest.Present(t, &solver.DNS01{Provider: p, Storage: d.Storage, DNS: d.DNS}, other)
		for _, proof := range []acme.Proof{base, wildcard, other} {
			if err := d.Wait(t.Context(), proof); err != nil {
				t.Error(err)
			}
		}
		solvertest.CleanUp(t, d, wildcard)
		record := func(proof acme.Proof) solver.Record {
			name, value := txtOf(t, proof)
			return solver.Record{Zone: "example.com", Name: name, Value: value, TTL: time.Minute}
		}
		p.wantRecords(t, record(base), record(other))
		solvertest.CleanUp(t, d, other)
		p.wantRecords(t, record(base))
		solvertest.CleanUp(t, d, base)
		p.wantRecords(t)
		for _, s := range p.zones["example.com"] {
			if s.Asked("_acme-challenge.example.com", "TXT") != 3 {
				t.Error("a server was not asked for each value")
			}
		}
		if left := p.dns.TXT("_acme-challenge.example.com"); !slices.Equal(left, []string{"somebody else's"}) {
			t.Errorf("what is left is %q", left)
		}
	})
}

func TestDNS01ManyOrdersAtOnce(t *testing.T) {
	inZones(t, []string{"example.com"}, func(t *testing.T, d *solver.DNS01, p *zoneProvider) {
		done := make(chan error)
		const orders = 10
		for i := range orders {
			proof := solvertest.WithToken(solvertest.NewProof(acme.TypeDNS01, "example.com"), "token"+string(rune('0'+i)))
			go func() {
				err := d.Present(t.Context(), proof)
				if err == nil {
					err = d.Wait(t.Context(), proof)
				}
				done <- errors.Join(err, d.CleanUp(t.Context(), proof))
			}()
		}
		for range orders {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		p.wantRecords(t)
		if keys := keysOf(t, d.Storage); len(keys) > 0 {
			t.Errorf("%q are left in the storage", keys)
		}
	})
}

func TestDNS01FindsTheZone(t *testing.T) {
	zones := []string{"example.com", "dept.example.com", "example.net"}
	for _, test := range []struct{ identifier, set, want, failure string }{
		{"example.com", "", "example.com", ""},
		{"a.b.example.com", "", "example.com", ""},
		{"dept.example.com", "", "dept.example.com", ""},
		{"www.dept.example.com", "", "dept.example.com", ""},
		{"www.dept.example.com", "Example.COM.", "example.com", ""},
		{"www.example.org", "", "", `find the zone, or set Zone to it: no zone in DNS holds "_acme-challenge.www.example.org": is its domain registered and delegated?`},
		{"www.example.org", "example.com", "", `the record _acme-challenge.www.example.org is not in the zone "example.com" that is set: set the zone that it is in, or none for it to be found`},
		{"wwwexample.com", "example.com", "", `the record _acme-challenge.wwwexample.com is not in the zone "example.com" that is set: set the zone that it is in, or none for it to be found`},
	} {
		t.Run(test.identifier+" "+test.set, func(t *testing.T) {
			inZones(t, zones, func(t *testing.T, d *solver.DNS01, p *zoneProvider) {
				p.add("example.com", "dept.example.com", "NS", "ns1.dept.example.com")
				d.Zone = test.set
				proof := solvertest.NewProof(acme.TypeDNS01, test.identifier)
				name, value := txtOf(t, proof)
				err := d.Present(t.Context(), proof)
				if test.failure != "" {
					if want := "solver: dns-01 for " + test.identifier + ": " + test.failure; err == nil || err.Error() != want {
						t.Errorf("the error is %v, want %s", err, want)
					}
					p.wantCalls(t)
					if keys := keysOf(t, d.Storage); len(keys) > 0 {
						t.Errorf("%q were stored", keys)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				p.wantRecords(t, solver.Record{Zone: test.want, Name: name, Value: value, TTL: time.Minute})
			})
		})
	}
}

func TestDNS01TTL(t *testing.T) {
	inZones(t, []string{"example.com"}, func(t *testing.T, d *solver.DNS01, p *zoneProvider) {
		d.TTL = 5 * time.Minute
		proof := solvertest.NewProof(acme.TypeDNS01, "example.com")
		name, value := txtOf(t, proof)
		solvertest.Present(t, d, proof)
		p.wantRecords(t, solver.Record{Zone: "example.com", Name: name, Value: value, TTL: 5 * time.Minute})
	})
}

func TestDNS01Supports(t *testing.T) {
	name := func(s string) acme.Identifier { return acme.Identifier{Type: acme.TypeDNS, Value: s} }
	for _, test := range []struct {
		solver *solver.DNS01
		id     acme.Identifier
		want   bool
	}{
		{&solver.DNS01{}, name("example.com"), true},
		{&solver.DNS01{}, name("*.example.com"), true},
		{&solver.DNS01{}, acme.Identifier{Type: acme.TypeIP, Value: "192.0.2.1"}, false},
		{&solver.DNS01{Zone: "example.com"}, name("example.com"), true},
		{&solver.DNS01{Zone: "Example.COM."}, name("*.example.com"), true},
		{&solver.DNS01{Zone: "example.com"}, name("a.b.example.com"), true},
		{&solver.DNS01{Zone: "example.com"}, name("bexample.com"), false},
		{&solver.DNS01{Zone: "www.example.com"}, name("example.com"), false},
		{&solver.DNS01{Zone: "validation.example.net", FollowCNAME: true}, name("example.com"), true},
		{&solver.DNS01{Zone: "example.com"}, acme.Identifier{Type: acme.TypeIP, Value: "192.0.2.1"}, false},
	} {
		account := solver.DNSAccount01{Zone: test.solver.Zone, FollowCNAME: test.solver.FollowCNAME}
		if test.solver.Supports(test.id, false) != test.want || account.Supports(test.id, true) != test.want {
			t.Errorf("zone %q: %s: want %t", test.solver.Zone, test.id.Value, test.want)
		}
	}
	if s := new(solver.DNSPersist01); !s.Supports(name("example.com"), true) || s.Supports(acme.Identifier{Type: acme.TypeIP, Value: "192.0.2.1"}, false) {
		t.Error("DNSPersist01 supports other identifiers")
	}
}

func TestDNS01Refuses(t *testing.T) {
	good := solvertest.NewProof(acme.TypeDNS01, "example.com")
	changed := func(change func(*acme.Proof)) acme.Proof {
		p := good
		change(&p)
		return p
	}
	for name, test := range map[string]struct {
		proof acme.Proof
		want  string
	}{
		"another type":         {solvertest.NewProof(acme.TypeHTTP01, "example.com"), `solver: a challenge of type "http-01" was given to the solver of dns-01`},
		"the account's label":  {solvertest.NewProof(acme.TypeDNSAccount01, "example.com"), `solver: a challenge of type "dns-account-01" was given to the solver of dns-01`},
		"an address":           {solvertest.NewProof(acme.TypeDNS01, "192.0.2.1"), `solver: dns-01: "192.0.2.1" is no domain name in the form of acme.ParseIdentifier`},
		"a name not as parsed": {solvertest.NewProof(acme.TypeDNS01, "Example.com"), `solver: dns-01: "Example.com" is no domain name in the form of acme.ParseIdentifier`},
		"a wildcard's form":    {solvertest.NewProof(acme.TypeDNS01, "*.example.com"), `solver: dns-01: "*.example.com" is no domain name in the form of acme.ParseIdentifier`},
		"no key authorization": {changed(func(p *acme.Proof) { p.KeyAuthorization = "" }), "solver: acme: example.com: dns-01: the proof has no key authorization"},
		"a wrong identifier's type": {changed(func(p *acme.Proof) { p.Identifier.Type = acme.TypeIP }),
			"solver: acme: example.com: dns-01: an address has no DNS record to answer by"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newZones(solvertest.NewMemoryDNS(t), "example.com")
			d := &solver.DNS01{Provider: p}
			for method, err := range map[string]error{
				"Present": d.Present(t.Context(), test.proof),
				"Wait":    d.Wait(t.Context(), test.proof),
				"CleanUp": d.CleanUp(t.Context(), test.proof),
			} {
				if err == nil || err.Error() != test.want {
					t.Errorf("%s: %v, want %s", method, err, test.want)
				}
			}
			p.wantCalls(t)
		})
	}
	d := new(solver.DNSAccount01)
	proof := solvertest.NewProof(acme.TypeDNSAccount01, "example.com")
	const want = "solver: dns-account-01 for example.com: the Provider that edits the zone is nil: set it"
	for _, err := range []error{d.Present(t.Context(), proof), d.CleanUp(t.Context(), proof)} {
		if err == nil || err.Error() != want {
			t.Errorf("without a provider: %v, want %s", err, want)
		}
	}
}

// What a provider says is told, but not at any length, and not as it is.
func TestDNS01ProviderFails(t *testing.T) {
	inZones(t, []string{"example.com"}, func(t *testing.T, d *solver.DNS01, p *zoneProvider) {
		failure := errors.New("no\nentry \x1b[31m" + strings.Repeat("x", 1000))
		p.failing(func(string, solver.Record) error { return failure })
		err := d.Present(t.Context(), solvertest.NewProof(acme.TypeDNS01, "example.com"))
		if !errors.Is(err, failure) {
			t.Errorf("the error does not wrap the provider's: %v", err)
		}
		const want = `solver: dns-01 for example.com: create the TXT record _acme-challenge.example.com in the zone "example.com": no\nentry \x1b[31mxxx`
		if !strings.HasPrefix(err.Error(), want) || len(err.Error()) > 600 {
			t.Errorf("the error is %v, want %s…", err, want)
		}
		err = d.CleanUp(t.Context(), solvertest.NewProof(acme.TypeDNS01, "example.com"))
		const wantDelete = `solver: dns-01 for example.com: delete the TXT record "_acme-challenge.example.com" from the zone "example.com": no\nentry \x1b[31mxxx`
		if !errors.Is(err, failure) || !strings.HasPrefix(err.Error(), wantDelete) || len(err.Error()) > 600 {
			t.Errorf("the error is %v, want %s…", err, wantDelete)
		}
	})
}

// What a provider says that it has not created is not deleted, unless an earlier Present may have created it. What it
// does not say that of is deleted.
func TestDNS01DeletesWhatMayHaveBeenCreated(t *testing.T) {
	refused, lost := fmt.Errorf("no: %w", solver.ErrNotCreated), errors.New("no answer")
	proof := solvertest.NewProof(acme.TypeDNS01, "example.com")
	name, _ := txtOf(t, proof)
	appended, deleted := "append "+name+" in example.com", "delete "+name+" in example.com"
	for what, test := range map[string]struct {
		failures []error // of each Present
		want     []string
	}{
		"refused":           {[]error{refused}, []string{appended}},
		"refused twice":     {[]error{refused, refused}, []string{appended, appended}},
		"of unknown fate":   {[]error{lost}, []string{appended, deleted}},
		"created, then no":  {[]error{nil, refused}, []string{appended, appended, deleted}},
		"unknown, then no":  {[]error{lost, refused}, []string{appended, appended, deleted}},
		"refused, then yes": {[]error{refused, nil}, []string{appended, appended, deleted}},
	} {
		t.Run(what, func(t *testing.T) {
			inZones(t, []string{"example.com"}, func(t *testing.T, d *solver.DNS01, p *zoneProvider) {
				for _, failure := range test.failures {
					p.failing(func(string, solver.Record) error { return failure })
					if err := d.Present(t.Context(), proof); !errors.Is(err, failure) {
						t.Fatalf("the error is %v, want %v", err, failure)
					}
				}
				p.failing(nil)
				solvertest.CleanUp(t, d, proof)
				p.wantCalls(t, test.want...)
				if keys := keysOf(t, d.Storage); len(keys) > 0 {
					t.Errorf("%q are left in the storage", keys)
				}
			})
		})
	}
}

// Another process that presents the same meanwhile is not made to forget it.
func TestDNS01ForgetsItsOwnNoteAlone(t *testing.T) {
	inZones(t, []string{"example.com"}, func(t *testing.T, d *solver.DNS01, p *zoneProvider) {
		proof := solvertest.NewProof(acme.TypeDNS01, "example.com")
		other := &solver.DNS01{Provider: p, Storage: d.Storage, DNS: d.DNS}
		d.Provider = refusingProvider{p, func() {
			time.Sleep(time.Second)
			solvertest.Present(t, other, proof)
		}}
		if err := d.Present(t.Context(), proof); !errors.Is(err, solver.ErrNotCreated) {
			t.Fatalf("the error is %v", err)
		}
		solvertest.CleanUp(t, other, proof)
		p.wantRecords(t)
	})
}

// A refusingProvider creates nothing, after it has done something else.
type refusingProvider struct {
	*zoneProvider
	first func()
}

func (p refusingProvider) AppendRecord(context.Context, solver.Record) error {
	p.first()
	return solver.ErrNotCreated
}
