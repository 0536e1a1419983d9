package solver_test

import (
	"strings"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/internal/solvertest"
	"golang.org/x/net/dns/dnsmessage"
)

// failSOA has the resolver fail questions for the SOA records of names that are picked.
func failSOA(p *zoneProvider, picked func(name string) bool) {
	p.dns.Resolver.Answer(func(network string, query, reply *dnsmessage.Message) [][]byte {
		q := query.Questions[0]
		if name := strings.TrimSuffix(q.Name.String(), "."); q.Type == dnsmessage.TypeSOA && picked(name) {
			return solvertest.Failing(dnsmessage.RCodeServerFailure)(network, query, reply)
		}
		return solvertest.Pack(reply)
	})
}

// With Zone set, no solver needs SOA records: neither to create the record nor to see it.
func TestZoneSetAsksForNoSOA(t *testing.T) {
	for challengeType, use := range map[string]func(d *solver.DNS01) acme.Solver{
		acme.TypeDNS01:        func(d *solver.DNS01) acme.Solver { return d },
		acme.TypeDNSAccount01: func(d *solver.DNS01) acme.Solver { return (*solver.DNSAccount01)(d) },
		acme.TypeDNSPersist01: func(d *solver.DNS01) acme.Solver {
			return &solver.DNSPersist01{Provider: d.Provider, DNS: d.DNS, Zone: d.Zone, FollowCNAME: d.FollowCNAME}
		},
	} {
		t.Run(challengeType, func(t *testing.T) {
			inZones(t, []string{"example.com"}, func(t *testing.T, d *solver.DNS01, p *zoneProvider) {
				failSOA(p, func(string) bool { return true })
				d.Zone, d.FollowCNAME = "example.com", true
				p.spread = func(_ solver.Record, set func()) { time.AfterFunc(5*time.Second, set) }
				proof := persistProof()
				if challengeType != acme.TypeDNSPersist01 {
					proof = solvertest.NewProof(challengeType, "example.com")
				}
				name, _ := txtOf(t, proof)
				p.add("example.com", name, "CNAME", "abc.example.com") // a look at what a name has now knows the zone too
				s := use(d)
				solvertest.Present(t, s, proof)
				if err := wait(t.Context(), s, proof); err != nil {
					t.Error(err)
				}
				for _, asked := range p.dns.Resolver.Queries() {
					if q := asked.Questions[0]; q.Type == dnsmessage.TypeSOA {
						t.Errorf("the SOA record of %v was asked for", q.Name)
					}
				}
			})
		})
	}
}

// Where the question for the SOA record fails for a name, the names above it are asked about.
func TestZoneOfANameWhoseSOAFails(t *testing.T) {
	for _, test := range []struct {
		name    string
		fails   func(name string) bool
		want    string
		failure string
	}{
		{"at the name", func(name string) bool { return strings.HasPrefix(name, "_") }, "example.com", ""},
		{"up to the zone", func(name string) bool { return name != "example.com" }, "example.com", ""},
		{"in the zone", func(name string) bool { return name != "com" }, "", "find the zone, or set Zone to it: no resolver has an answer for SOA \"_acme-challenge.www.example.com\""},
		{"everywhere", func(string) bool { return true }, "", "find the zone, or set Zone to it: no resolver has an answer for SOA \"_acme-challenge.www.example.com\""},
	} {
		t.Run(test.name, func(t *testing.T) {
			inZones(t, []string{"com", "example.com"}, func(t *testing.T, d *solver.DNS01, p *zoneProvider) {
				p.add("com", "example.com", "NS", "ns1.example.com")
				failSOA(p, test.fails)
				proof := solvertest.NewProof(acme.TypeDNS01, "www.example.com")
				err := d.Present(t.Context(), proof)
				if test.want == "" {
					if err == nil || !strings.Contains(err.Error(), test.failure) {
						t.Errorf("the error is %v, want %s", err, test.failure)
					}
					p.wantCalls(t)
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				p.wantCalls(t, "append _acme-challenge.www.example.com in "+test.want)
				if err := d.Wait(t.Context(), proof); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A zone that is delegated and broken is not taken for its parent, where records would be seen by nobody.
func TestZoneThatIsDelegatedAndBroken(t *testing.T) {
	inZones(t, []string{"example.com"}, func(t *testing.T, d *solver.DNS01, p *zoneProvider) {
		p.add("example.com", "lame.example.com", "NS", "ns.nowhere.example")
		err := d.Present(t.Context(), solvertest.NewProof(acme.TypeDNS01, "www.lame.example.com"))
		if err == nil || !strings.Contains(err.Error(), "SERVFAIL") {
			t.Errorf("the error is %v", err)
		}
		p.wantCalls(t)
	})
}

// A wait that could find no zone names all that may be set.
func TestWaitWithoutAZone(t *testing.T) {
	inZones(t, []string{"example.com"}, func(t *testing.T, d *solver.DNS01, p *zoneProvider) {
		proof := solvertest.NewProof(acme.TypeDNS01, "example.com")
		solvertest.Present(t, d, proof)
		failSOA(p, func(string) bool { return true })
		begun := time.Now()
		err := d.Wait(t.Context(), proof)
		if took := time.Since(begun); err == nil || took != 5*time.Minute {
			t.Fatalf("after %v: %v", took, err)
		}
		for _, field := range []string{"Zone", "Propagation.Recursive", "Propagation.Off"} {
			if !strings.Contains(err.Error(), field) {
				t.Errorf("the error does not name %s: %v", field, err)
			}
		}
	})
}
