package solver_test

import (
	"context"
	"net"
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

// The solvers ask name servers inside if DNS.Private says so, or the Private of a Vantage.
func TestPrivateSolvers(t *testing.T) {
	soon := solver.Propagation{Timeout: time.Minute}
	for _, test := range []struct {
		proof acme.Proof
		with  func(d *solver.DNS) waitingSolver
	}{
		{overDNS, func(d *solver.DNS) waitingSolver { return &solver.DNS01{DNS: d, Propagation: soon} }},
		{newProof(acme.TypeDNSAccount01, "example.com"), func(d *solver.DNS) waitingSolver {
			return &solver.DNSAccount01{DNS: d, Propagation: soon}
		}},
		{persistent(false), func(d *solver.DNS) waitingSolver { return &solver.DNSPersist01{DNS: d, Propagation: soon} }},
		{overDNS, func(d *solver.DNS) waitingSolver {
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
				"as it is":                        {test.with(dnsOf(d)), false},
				"from a vantage point":            {test.with(dnsOf(d)).WithDNS(solver.Vantage{}.ForSolvers()), false},
				"by its own DNS":                  {test.with(private), true},
				"from a private vantage point":    {test.with(dnsOf(d)).WithDNS(solver.Vantage{Private: true}.ForSolvers()), true},
				"by the vantage point's DNS":      {test.with(nil).WithDNS(solver.Vantage{DNS: private}.ForSolvers()), true},
				"by a private vantage point, too": {test.with(nil).WithDNS(solver.Vantage{DNS: dnsOf(d), Private: true}.ForSolvers()), true},
			} {
				if err := way.solver.(waitingSolver).Wait(t.Context(), test.proof); (err == nil) != way.seen {
					t.Errorf("%s %s: %v", test.proof.Type, name, err)
				}
			}
		})
	}
}

// Where the names of a private network are diagnosed, its name servers are asked too.
func TestDiagnoseInAPrivateNetwork(t *testing.T) {
	for _, private := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			d := solvertest.NewMemoryDNS(t)
			d.Zone("corp.example", "10.0.0.53")[0].Add("ca.corp.example", "A", "10.1.1.1")
			d.Zone("example.com", "10.0.0.53")[0].Add("example.com", "A", "10.0.0.5")
			var dialled []string
			web := func(_ context.Context, _, address string) (net.Conn, error) {
				dialled = append(dialled, address)
				return nil, errUnroutable
			}
			p := overHTTP
			if !private {
				p.DirectoryURL = "https://ca.corp.example/directory"
			}
			diagnosis := solver.Diagnose(t.Context(), p, nil, solver.Vantage{DNS: dnsOf(d), Dial: web, Private: private})
			if len(dialled) != 1 || dialled[0] != "10.0.0.5:80" || len(diagnosis.Visits[0].Sources) != 2 {
				t.Errorf("private %v: dialled %q, %+v", private, dialled, diagnosis)
			}
		})
	}
}
