package solver_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/internal/solvertest"
)

const standingName = "_validation-persist.example.com"

// persistProof returns a proof of dns-persist-01 for example.com.
func persistProof() acme.Proof {
	p := solvertest.NewProof(acme.TypeDNSPersist01, "example.com")
	p.Token, p.KeyAuthorization = "", ""
	p.Issuers = []string{"ca.example", "second.ca.example"}
	p.AccountURI = p.AccountURL
	return p
}

// inPersistentZones is inZones for a DNSPersist01 without a provider.
func inPersistentZones(t *testing.T, f func(t *testing.T, d *solver.DNSPersist01, p *zoneProvider)) {
	t.Helper()
	inZones(t, []string{"example.com", "example.net"}, func(t *testing.T, d *solver.DNS01, p *zoneProvider) {
		f(t, &solver.DNSPersist01{DNS: d.DNS}, p)
	})
}

func TestDNSPersist01SaysWhatToSet(t *testing.T) {
	inPersistentZones(t, func(t *testing.T, d *solver.DNSPersist01, p *zoneProvider) {
		proof := persistProof()
		begun := time.Now()
		err := d.Present(t.Context(), proof)
		missing, ok := errors.AsType[*solver.StandingRecordError](err)
		const text = "ca.example; accounturi=https://ca.example/account/1"
		if want := (solver.Record{Name: standingName, Value: text, TTL: time.Hour}); !ok || missing.Record != want {
			t.Fatalf("the error is %v, want one with %+v", err, want)
		}
		const sentence = `solver: dns-persist-01: set the TXT record "_validation-persist.example.com" with the text "ca.example; accounturi=https://ca.example/account/1", once and for good: the TXT record `
		if !strings.HasPrefix(err.Error(), sentence) || !strings.Contains(err.Error(), "ns2.example.com (192.0.2.2:53) says that there is no such name (NXDOMAIN)") {
			t.Errorf("the error is %v, want %s…", err, sentence)
		}
		if took := time.Since(begun); took != 0 {
			t.Errorf("a record that nobody is setting was waited for %v", took)
		}
		if _, ok := errors.AsType[*solver.PropagationError](err); !ok {
			t.Errorf("the error does not wrap what the servers said: %v", err)
		}

		// It is there, in the end at every server, and never taken away.
		p.zones["example.com"][0].Add(standingName, "TXT", text)
		solvertest.Present(t, d, proof)
		d.Propagation.Timeout = time.Minute
		err = d.Wait(t.Context(), proof)
		if _, ok := errors.AsType[*solver.StandingRecordError](err); !ok || strings.Contains(err.Error(), "ns1.example.com (192.0.2.1:53)") {
			t.Errorf("the error is %v, want one that names the second server alone", err)
		}
		p.zones["example.com"][1].Add(standingName, "TXT", text)
		if err := d.Wait(t.Context(), proof); err != nil {
			t.Error(err)
		}
		solvertest.CleanUp(t, d, proof)
		if values := p.dns.TXT(standingName); !slices.Equal(values, []string{text}) {
			t.Errorf("what is left is %q", values)
		}
	})
}

func TestDNSPersist01TakesOtherForms(t *testing.T) {
	inBubbleTime := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	until := func(d time.Duration) string { return strconv.FormatInt(inBubbleTime.Add(d).Unix(), 10) }
	const account = "accounturi=https://ca.example/account/1"
	for _, test := range []struct {
		text           string
		base, wildcard bool
	}{
		{"ca.example; " + account, true, false},
		{"second.ca.example;" + account, true, false},
		{"  ca.example\t; AccountURI = https://ca.example/account/1 ", true, false},
		{"ca.example; " + account + "; policy=wildcard", true, true},
		{"ca.example; POLICY=Wildcard; " + account + "; new=value", true, true},
		{"ca.example; " + account + "; policy=other", true, false},
		{"ca.example; " + account + "; persistUntil=" + until(time.Hour), true, false},
		{"ca.example; " + account + "; persistUntil=" + until(-time.Hour), false, false},
		{"ca.example; " + account + "; persistUntil=tomorrow", false, false},
		{"ca.example; " + account + ";", false, false},
		{"ca.example; " + account + "; " + account, false, false},
		{"ca.example; accounturi=https://ca.example/account/12", false, false},
		{"ca.example; accounturi=HTTPS://ca.example/account/1", false, false},
		{"ca.example", false, false},
		{"other.example; " + account, false, false},
		{"CA.example; " + account, false, false},
		{"", false, false},
	} {
		t.Run(test.text, func(t *testing.T) {
			inPersistentZones(t, func(t *testing.T, d *solver.DNSPersist01, p *zoneProvider) {
				p.add("example.com", standingName, "TXT", "other.example; "+account)
				p.add("example.com", standingName, "TXT", test.text)
				for wildcard, want := range map[bool]bool{false: test.base, true: test.wildcard} {
					proof := persistProof()
					proof.Wildcard = wildcard
					if err := d.Present(t.Context(), proof); (err == nil) != want {
						t.Errorf("wildcard %t: %v", wildcard, err)
					}
				}
			})
		})
	}
}

func TestDNSPersist01SetsItOnce(t *testing.T) {
	inPersistentZones(t, func(t *testing.T, d *solver.DNSPersist01, p *zoneProvider) {
		d.Provider = p
		p.spread = func(r solver.Record, set func()) { time.AfterFunc(10*time.Second, set) }
		proof := persistProof()
		name, value := txtOf(t, proof)
		if s := d.Type(); s != "dns-persist-01" {
			t.Errorf("the type is %q", s)
		}
		solvertest.Present(t, d, proof)
		if err := d.Wait(t.Context(), proof); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			solvertest.Present(t, d, proof)
			if err := d.Wait(t.Context(), proof); err != nil {
				t.Error(err)
			}
			solvertest.CleanUp(t, d, proof)
		}
		p.wantRecords(t, solver.Record{Zone: "example.com", Name: name, Value: value, TTL: time.Hour})
		p.wantCalls(t, "append "+standingName+" in example.com")

		// A wildcard needs a record that says so; that one does for the base name as well.
		proof.Wildcard = true
		solvertest.Present(t, d, proof)
		p.wantCalls(t, "append "+standingName+" in example.com")
	})
}

func TestDNSPersist01LeavesOtherFormsAlone(t *testing.T) {
	inPersistentZones(t, func(t *testing.T, d *solver.DNSPersist01, p *zoneProvider) {
		d.Provider = p
		// One server that has it is enough for not setting it a second time.
		p.zones["example.com"][1].Add(standingName, "TXT", "second.ca.example;accounturi=https://ca.example/account/1;policy=wildcard")
		solvertest.Present(t, d, persistProof())
		p.wantCalls(t)
	})
}

// While no server says what is there, nothing is set.
func TestDNSPersist01WithoutAnswers(t *testing.T) {
	inPersistentZones(t, func(t *testing.T, d *solver.DNSPersist01, p *zoneProvider) {
		silence := func() {
			for _, s := range p.zones["example.com"] {
				s.Answer(solvertest.Silent)
			}
		}
		silence()
		d.Provider = p
		err := d.Present(t.Context(), persistProof())
		const want = "solver: dns-persist-01 for example.com: check whether the record is there already: the TXT record "
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("the error is %v, want %s…", err, want)
		}
		p.wantCalls(t)

		time.AfterFunc(5*time.Second, func() {
			for _, s := range p.zones["example.com"] {
				s.Answer(nil)
			}
		})
		solvertest.Present(t, d, persistProof())
		p.wantCalls(t, "append "+standingName+" in example.com")

		silence()
		d.Provider = nil
		if _, ok := errors.AsType[*solver.StandingRecordError](d.Present(t.Context(), persistProof())); !ok {
			t.Errorf("without a provider the error does not say what to set: %v", err)
		}
	})
}

func TestDNSPersist01WithoutLooking(t *testing.T) {
	inPersistentZones(t, func(t *testing.T, d *solver.DNSPersist01, p *zoneProvider) {
		d.Propagation.Off = true
		proof := persistProof()
		solvertest.Present(t, d, proof)
		if err := d.Wait(t.Context(), proof); err != nil {
			t.Error(err)
		}
		if n := p.zones["example.com"][0].Asked(standingName, "TXT"); n > 0 {
			t.Errorf("the record was looked for %d times", n)
		}
		d.Provider, d.Zone = p, "example.com"
		solvertest.Present(t, d, proof)
		p.wantCalls(t, "append "+standingName+" in example.com")
	})
}

func TestDNSPersist01FollowsCNAME(t *testing.T) {
	inPersistentZones(t, func(t *testing.T, d *solver.DNSPersist01, p *zoneProvider) {
		d.Provider, d.TTL = p, 5*time.Minute
		p.add("example.com", standingName, "CNAME", "persist.example.net")
		proof := persistProof()
		_, value := txtOf(t, proof)

		p.failing(failOn("append"))
		err := d.Present(t.Context(), proof)
		const advice = `. A CNAME leads from there to "persist.example.net": set FollowCNAME for the record to be created where it leads`
		const want = `solver: dns-persist-01 for example.com: create the TXT record _validation-persist.example.com in the zone "example.com": the provider's error` + advice
		if err == nil || err.Error() != want {
			t.Errorf("the error is %v, want %s", err, want)
		}
		d.Propagation.Timeout = time.Minute
		if err := d.Wait(t.Context(), proof); err == nil || !strings.HasSuffix(err.Error(), advice) {
			t.Errorf("the error is %v, want %s at its end", err, advice)
		}

		p.failing(nil)
		d.FollowCNAME = true
		solvertest.Present(t, d, proof)
		p.wantRecords(t, solver.Record{Zone: "example.net", Name: "persist.example.net", Value: value, TTL: 5 * time.Minute})
		if err := d.Wait(t.Context(), proof); err != nil {
			t.Error(err)
		}
	})
}

func TestDNSPersist01Refuses(t *testing.T) {
	inPersistentZones(t, func(t *testing.T, d *solver.DNSPersist01, p *zoneProvider) {
		d.Provider = p
		hostile := persistProof()
		hostile.AccountURI = "https://ca.example/account/1; policy=wildcard"
		unnamed := persistProof()
		unnamed.Issuers = nil
		for want, proof := range map[string]acme.Proof{
			`solver: a challenge of type "dns-01" was given to the solver of dns-persist-01`:                                      solvertest.NewProof(acme.TypeDNS01, "example.com"),
			fmt.Sprintf("solver: acme: example.com: dns-persist-01: the account %q cannot stand in a record", hostile.AccountURI): hostile,
			"solver: acme: example.com: dns-persist-01: the challenge has 0 names for the CA, from 1 to 10 are possible":          unnamed,
		} {
			for _, err := range []error{d.Present(t.Context(), proof), d.Wait(t.Context(), proof)} {
				if err == nil || err.Error() != want {
					t.Errorf("the error is %v, want %s", err, want)
				}
			}
		}
		p.wantCalls(t)
	})
}
