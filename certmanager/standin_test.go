package certmanager_test

import (
	"testing"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/storage"
)

// A subject's solver may stand for the manager's own, be it the one that the Config has or one with nothing of its own.
func TestStandIns(t *testing.T) {
	own := &solver.HTTP01{Addr: ":8080", Storage: new(storage.Memory)}
	for _, s := range []acme.Solver{own, new(solver.HTTP01), new(solver.TLSALPN01)} {
		_, err := certmanager.New(certmanager.Config{
			Storage: new(storage.Memory), Solvers: []acme.Solver{own}, HTTPAddr: ":80",
			Subjects: []certmanager.Subject{{Names: []string{"example.com"}, Solvers: []acme.Solver{s}}},
			Issuers:  []certmanager.Issuer{&certmanager.ACME{DirectoryURL: "https://ca.example/directory", Solvers: []acme.Solver{s}}},
		})
		if err != nil {
			t.Error(err)
		}
	}
}
