package diagnose_test

import (
	"strings"

	"github.com/everseal/everseal/solver/diagnose"
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
	value := solvertest.ValueOf(overDNS)
	persist := solvertest.Persistent(false)
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
			" says that there is no such name (NXDOMAIN): check whether the provider writes to this zone, and wait longer before the CA is told to validate (DNS01.Propagation)",
	}, {
		name: "a standing record in quotes", proof: persist,
		setUp: func(w *world) { w.add("_validation-persist.example.com", "TXT", `"`+solvertest.ValueOf(persist)+`"`) },
		want: strings.Replace(quotedReason, solvertest.ChallengeName, "_validation-persist.example.com", 1) + ": " + ns1 +
			` says "\"` + solvertest.ValueOf(persist) + `\"": ` + quotedCure,
	}}
	for i := range tests {
		tests[i].cause = diagnose.CauseRecordMissing
	}
	return withProof(tests, overDNS)
}
