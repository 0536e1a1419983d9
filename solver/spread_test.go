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
	twiceName      = "_acme-challenge.example.com.example.com"
	twiceReason    = "the TXT record is at " + twiceName + ", with the name of the zone twice, and not at " + solvertest.ChallengeName
	twiceCure      = "give the name to the zone's provider without the zone, as _acme-challenge, or with a final dot"
	inQuotesReason = "the TXT record " + solvertest.ChallengeName + " has the value with quotes or blanks around it, which are part of it"
	inQuotesCure   = "give the value to the zone's provider without quotes and blanks"
)

// A wait that ends without the record says so where it nearly is.
func TestWaitSaysWhereTheRecordIs(t *testing.T) {
	for name, test := range map[string]struct {
		setUp func(p *zoneProvider, value string)
		want  string
	}{
		"a name with the zone twice": {func(p *zoneProvider, value string) {
			p.add("example.com", twiceName, "TXT", value)
		}, ". But " + twiceReason + ": " + twiceCure},
		"a value in quotes": {func(p *zoneProvider, value string) {
			p.add("example.com", solvertest.ChallengeName, "TXT", `"`+value+`"`)
		}, ". But " + inQuotesReason + ": " + inQuotesCure},
		"neither": {func(p *zoneProvider, _ string) {
			p.add("example.com", solvertest.ChallengeName, "TXT", "other")
		}, ". See whether the record was written to the zone that the domain is delegated to"},
	} {
		t.Run(name, func(t *testing.T) {
			inZones(t, []string{"example.com"}, func(t *testing.T, d *solver.DNS01, p *zoneProvider) {
				p.spread = func(solver.Record, func()) {}
				proof := solvertest.NewProof(acme.TypeDNS01, "example.com")
				_, value := txtOf(t, proof)
				solvertest.Present(t, d, proof)
				test.setUp(p, value)
				d.Propagation.Timeout = time.Minute
				if err := d.Wait(t.Context(), proof); err == nil || !strings.HasSuffix(err.Error(), test.want) {
					t.Errorf("the error is %v, want one that ends with %s", err, test.want)
				}
			})
		})
	}
}
