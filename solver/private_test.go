package solver_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/internal/solvertest"
)

// A waitingSolver is one that asks name servers.
type waitingSolver interface {
	acme.Solver
	Wait(ctx context.Context, p acme.Proof) error
	WithDNS(dns *solver.DNS) acme.Solver
}

// The solvers ask name servers inside if DNS.Private says so, or that of WithDNS.
func TestPrivateSolvers(t *testing.T) {
	soon := solver.Propagation{Timeout: time.Minute}
	for _, test := range []struct {
		proof acme.Proof
		with  func(d *solver.DNS) waitingSolver
	}{
		{solvertest.NewProof(acme.TypeDNS01, "example.com"), func(d *solver.DNS) waitingSolver { return &solver.DNS01{DNS: d, Propagation: soon} }},
		{solvertest.NewProof(acme.TypeDNSAccount01, "example.com"), func(d *solver.DNS) waitingSolver {
			return &solver.DNSAccount01{DNS: d, Propagation: soon}
		}},
		{solvertest.Persistent(false), func(d *solver.DNS) waitingSolver { return &solver.DNSPersist01{DNS: d, Propagation: soon} }},
		{solvertest.NewProof(acme.TypeDNS01, "example.com"), func(d *solver.DNS) waitingSolver {
			lego := solver.LegoV5(new(legoProvider))
			lego.DNS, lego.Propagation = d, soon
			return lego
		}},
	} {
		synctest.Test(t, func(t *testing.T) {
			at, value, err := test.proof.TXTRecord()
			if err != nil {
				t.Fatal(err)
			}
			d := solvertest.NewMemoryDNS(t)
			d.Zone("example.com", "10.0.0.5")[0].Add(at, "TXT", value)
			private := dnsOf(d)
			private.Private = true
			for name, way := range map[string]struct {
				solver acme.Solver
				seen   bool
			}{
				"as it is":                     {test.with(dnsOf(d)), false},
				"with no other":                {test.with(dnsOf(d)).WithDNS(nil), false},
				"by its own DNS":               {test.with(private), true},
				"with another that is private": {test.with(dnsOf(d)).WithDNS(&solver.DNS{Private: true}), true},
				"by another DNS":               {test.with(nil).WithDNS(private), true},
			} {
				if err := way.solver.(waitingSolver).Wait(t.Context(), test.proof); (err == nil) != way.seen {
					t.Errorf("%s %s: %v", test.proof.Type, name, err)
				}
			}
		})
	}
}
