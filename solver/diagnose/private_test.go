package diagnose_test

import (
	"context"
	"net"
	"testing"
	"testing/synctest"

	"github.com/everseal/everseal/solver/diagnose"
	"github.com/everseal/everseal/solver/internal/solvertest"
)

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
			diagnosis := diagnose.Before(t.Context(), p, diagnose.Vantage{DNS: dnsFor(d), Dial: web, Private: private})
			if len(dialled) != 1 || dialled[0] != "10.0.0.5:80" || len(diagnosis.Visits[0].Sources) != 2 {
				t.Errorf("private %v: dialled %q, %+v", private, dialled, diagnosis)
			}
		})
	}
}
