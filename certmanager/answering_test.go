package certmanager

import (
	"testing"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/storage"
)

// Solvers that ask name servers do so from the manager's vantage point.
func TestSolversAskFromTheVantage(t *testing.T) {
	outside, own := &solver.DNS{Resolvers: []string{"192.0.2.53"}}, &solver.DNS{Resolvers: []string{"192.0.2.54"}}
	given := []acme.Solver{new(solver.DNS01), &solver.DNS01{DNS: own}, new(solver.DNSAccount01), new(solver.DNSPersist01), new(solver.Lego)}
	m, err := New(Config{
		CA: "https://ca.example/directory", Storage: new(storage.Memory), Solvers: given,
		Vantage: solver.Vantage{DNS: outside, Private: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	var used []*solver.DNS
	for _, s := range m.solvers {
		switch s := s.(type) {
		case *solver.DNS01:
			used = append(used, s.DNS)
		case *solver.DNSAccount01:
			used = append(used, s.DNS)
		case *solver.DNSPersist01:
			used = append(used, s.DNS)
		case *solver.Lego:
			used = append(used, s.DNS)
		}
	}
	if len(used) != len(given) {
		t.Fatalf("of %d solvers %d are used", len(given), len(used))
	}
	for i, dns := range used {
		want := outside
		if i == 1 {
			want = own
		}
		if dns == nil || dns.Resolvers[0] != want.Resolvers[0] || !dns.Private {
			t.Errorf("solver %d asks by %+v", i, dns)
		}
	}
	if outside.Private || own.Private {
		t.Error("what was given is changed")
	}
}
