package solver_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/internal/solvertest"
)

func TestDNS01FollowsCNAME(t *testing.T) {
	const challenge = "_acme-challenge.www.example.com"
	for _, test := range []struct {
		name    string
		records [][2]string // CNAMEs, from and to
		zone    string
		want    string // the record's name; its zone is example.net where it ends so, else example.com
		failure string
	}{
		{"none", nil, "", challenge, ""},
		{"one", [][2]string{{challenge, "abc.example.net"}}, "", "abc.example.net", ""},
		{"a chain", [][2]string{{challenge, "a.example.com"}, {"a.example.com", "b.example.net"}, {"b.example.net", "c.example.net"}}, "", "c.example.net", ""},
		{"in the zone that is set", [][2]string{{challenge, "abc.example.net"}}, "example.net", "abc.example.net", ""},
		{"the zone itself", [][2]string{{challenge, "example.net"}}, "", "example.net", ""},
		{"a wildcard", [][2]string{{"*.example.com", "site.example.net"}}, "", challenge, ""},
		{"a wildcard and a delegation", [][2]string{{"*.www.example.com", "site.example.net"}, {challenge, "abc.example.net"}}, "", "abc.example.net", ""},
		{"a delegation to below a wildcard", [][2]string{{challenge, "abc.example.net"}, {"*.example.net", "site.example.com"}}, "", "abc.example.net", ""},
		{"out of the zone that is set", [][2]string{{challenge, "abc.example.net"}}, "example.com", "",
			`the CNAME at ` + challenge + ` leads to abc.example.net, out of the zone "example.com" that is set: set the one where it leads, or none for it to be found`},
		{"nowhere", [][2]string{{challenge, "abc.example.org"}}, "", "",
			`find the zone, or set Zone to it: no zone in DNS holds "abc.example.org": is its domain registered and delegated?`},
		{"a circle", [][2]string{{challenge, "a.example.com"}, {"a.example.com", challenge}}, "", "",
			`the CNAMEs of "` + challenge + `" lead in a circle, back to "` + challenge + `"`},
		{"a name that is none", [][2]string{{challenge, "$(reboot)\n.example.net"}}, "", "",
			`the CNAME at ` + challenge + ` leads to "$(reboot)\n.example.net", where no record will be created: names of letters, digits, - and _ are taken`},
	} {
		t.Run(test.name, func(t *testing.T) {
			inZones(t, []string{"example.com", "example.net"}, func(t *testing.T, d *solver.DNS01, p *zoneProvider) {
				d.FollowCNAME, d.Zone = true, test.zone
				for _, r := range test.records {
					p.add(zoneAround(r[0]), r[0], "CNAME", r[1])
				}
				proof := solvertest.NewProof(acme.TypeDNS01, "www.example.com")
				_, value := txtOf(t, proof)
				err := d.Present(t.Context(), proof)
				if test.failure != "" {
					if want := "solver: dns-01 for www.example.com: " + test.failure; err == nil || err.Error() != want {
						t.Errorf("the error is %v, want %s", err, want)
					}
					p.wantCalls(t)
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				p.wantRecords(t, solver.Record{Zone: zoneAround(test.want), Name: test.want, Value: value, TTL: time.Minute})
				if err := d.Wait(t.Context(), proof); err != nil {
					t.Error(err)
				}
				solvertest.CleanUp(t, d, proof)
				p.wantRecords(t)
			})
		})
	}
}

// zoneAround returns which of the two zones a name is in.
func zoneAround(name string) string {
	if strings.HasSuffix(name, "example.net") {
		return "example.net"
	}
	return "example.com"
}

// Who did not ask for a CNAME to be followed is told of one that is in the way.
func TestDNS01AdvisesToFollowCNAME(t *testing.T) {
	const advice = `. A CNAME leads from there to "abc.example.net": set FollowCNAME for the record to be created where it leads`
	inZones(t, []string{"example.com", "example.net"}, func(t *testing.T, d *solver.DNS01, p *zoneProvider) {
		p.add("example.com", "_acme-challenge.example.com", "CNAME", "abc.example.net")
		proof := solvertest.NewProof(acme.TypeDNS01, "example.com")
		p.failing(failOn("append"))
		err := d.Present(t.Context(), proof)
		const want = `solver: dns-01 for example.com: create the TXT record _acme-challenge.example.com in the zone "example.com": the provider's error` + advice
		if !errors.Is(err, errProvider) || err.Error() != want {
			t.Errorf("the error is %v, want %s", err, want)
		}

		// Some servers take the record without a word, and leave it out (RFC 2136 §3.4.2.2).
		p.failing(nil)
		p.spread = func(solver.Record, func()) {}
		solvertest.Present(t, d, proof)
		err = d.Wait(t.Context(), proof)
		if unseen, ok := errors.AsType[*solver.PropagationError](err); !ok || unseen.Target != "abc.example.net" || !strings.HasSuffix(err.Error(), advice) {
			t.Errorf("the error is %v, want %s at its end", err, advice)
		}
	})
	inZones(t, []string{"example.com", "example.net"}, func(t *testing.T, d *solver.DNS01, p *zoneProvider) {
		d.FollowCNAME = true
		p.add("example.com", "_acme-challenge.example.com", "CNAME", "abc.example.net")
		p.spread = func(solver.Record, func()) {}
		proof := solvertest.NewProof(acme.TypeDNS01, "example.com")
		solvertest.Present(t, d, proof)
		if err := d.Wait(t.Context(), proof); err == nil || strings.Contains(err.Error(), "FollowCNAME") {
			t.Errorf("who has set FollowCNAME is told to: %v", err)
		}
	})
	inZones(t, []string{"example.com", "example.net"}, func(t *testing.T, d *solver.DNS01, p *zoneProvider) {
		p.add("example.com", "*.example.com", "CNAME", "site.example.net")
		proof := solvertest.NewProof(acme.TypeDNS01, "example.com")
		p.failing(failOn("append"))
		if err := d.Present(t.Context(), proof); err == nil || strings.Contains(err.Error(), "CNAME") {
			t.Errorf("a wildcard is blamed: %v", err)
		}
		p.failing(nil)
		p.spread = func(solver.Record, func()) {}
		solvertest.Present(t, d, proof)
		if err := d.Wait(t.Context(), proof); err == nil || strings.Contains(err.Error(), "FollowCNAME") {
			t.Errorf("a wildcard is blamed: %v", err)
		}
	})
}

// The account's own label leads elsewhere than _acme-challenge, in which another client may be at work.
func TestDNSAccount01FollowsCNAME(t *testing.T) {
	inZones(t, []string{"example.com", "example.net"}, func(t *testing.T, d *solver.DNS01, p *zoneProvider) {
		d.FollowCNAME = true
		account := (*solver.DNSAccount01)(d)
		proof := solvertest.NewProof(acme.TypeDNSAccount01, "example.com")
		name, value := txtOf(t, proof)
		p.add("example.com", "_acme-challenge.example.com", "CNAME", "elsewhere.example.net")
		p.add("example.com", name, "CNAME", "here.example.net")
		solvertest.Present(t, account, proof)
		p.wantRecords(t, solver.Record{Zone: "example.net", Name: "here.example.net", Value: value, TTL: time.Minute})
		if err := account.Wait(t.Context(), proof); err != nil {
			t.Error(err)
		}
		solvertest.CleanUp(t, account, proof)
		p.wantRecords(t)
	})
}
