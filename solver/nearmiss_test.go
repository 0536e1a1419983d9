package solver_test

import (
	"strings"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/internal/solvertest"
)

const (
	doubledName   = "_acme-challenge.example.com.example.com"
	doubledReason = "the TXT record is at " + doubledName + ", with the name of the zone twice, and not at " + solvertest.ChallengeName
	doubledCure   = "give the name to the zone's provider without the zone, as _acme-challenge, or with a final dot"
	quotedReason  = "the TXT record " + solvertest.ChallengeName + " has the value with quotes or blanks around it, which are part of it"
	quotedCure    = "give the value to the zone's provider without quotes and blanks"
)

func nearMissTests() []diagnoseTest {
	value := valueOf(overDNS)
	persist := persistent(false)
	tests := []diagnoseTest{{
		name:  "a value in quotes",
		setUp: func(w *world) { w.add(solvertest.ChallengeName, "TXT", `"`+value+`"`) },
		want:  quotedReason + ": " + ns1 + ` says "\"` + value + `\"": ` + quotedCure,
	}, {
		name: "a value in quotes that were escaped, beside another",
		setUp: func(w *world) {
			w.add(solvertest.ChallengeName, "TXT", "other")
			w.add(solvertest.ChallengeName, "TXT", ` \"`+value+`\" `)
		},
		want: quotedReason + ": " + ns1 + ` says " \\\"` + value + `\\\" ": ` + quotedCure,
	}, {
		name:  "a name with the zone twice",
		setUp: func(w *world) { w.add(doubledName, "TXT", value) },
		want:  doubledReason + ": " + doubledCure,
	}, {
		name:  "another value at the name with the zone twice",
		setUp: func(w *world) { w.add(doubledName, "TXT", "old") },
		want: "no server of the zone example.com has the TXT record " + solvertest.ChallengeName + " with the value " + value + ": " + ns1 +
			" says that there is no such name (NXDOMAIN): look whether the provider writes to this zone, and wait longer before the CA is told to look (DNS01.Propagation)",
	}, {
		name: "a standing record in quotes", proof: persist,
		setUp: func(w *world) { w.add("_validation-persist.example.com", "TXT", `"`+valueOf(persist)+`"`) },
		want: strings.Replace(quotedReason, solvertest.ChallengeName, "_validation-persist.example.com", 1) + ": " + ns1 +
			` says "\"` + valueOf(persist) + `\"": ` + quotedCure,
	}}
	for i := range tests {
		tests[i].cause = solver.CauseRecordMissing
	}
	return withProof(tests, overDNS)
}

// A wait that ends without the record says so where it nearly is.
func TestWaitSaysWhereTheRecordIs(t *testing.T) {
	for name, test := range map[string]struct {
		setUp func(p *zoneProvider, value string)
		want  string
	}{
		"a name with the zone twice": {func(p *zoneProvider, value string) {
			p.add("example.com", doubledName, "TXT", value)
		}, ". But " + doubledReason + ": " + doubledCure},
		"a value in quotes": {func(p *zoneProvider, value string) {
			p.add("example.com", solvertest.ChallengeName, "TXT", `"`+value+`"`)
		}, ". But " + quotedReason + ": " + quotedCure},
		"neither": {func(p *zoneProvider, _ string) {
			p.add("example.com", solvertest.ChallengeName, "TXT", "other")
		}, ". See whether the record was written to the zone that the domain is delegated to"},
	} {
		t.Run(name, func(t *testing.T) {
			inZones(t, []string{"example.com"}, func(t *testing.T, d *solver.DNS01, p *zoneProvider) {
				p.spread = func(solver.Record, func()) {}
				proof := newProof(acme.TypeDNS01, "example.com")
				_, value := txtOf(t, proof)
				present(t, d, proof)
				test.setUp(p, value)
				d.Propagation.Timeout = time.Minute
				if err := d.Wait(t.Context(), proof); err == nil || !strings.HasSuffix(err.Error(), test.want) {
					t.Errorf("the error is %v, want one that ends with %s", err, test.want)
				}
			})
		})
	}
}
