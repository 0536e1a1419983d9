package diagnose

import (
	"sync/atomic"
	"testing"

	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/internal/solvertest"
	"golang.org/x/net/dns/dnsmessage"
)

// A resolver that fails once is no sign of broken DNSSEC.
func TestTransientServfail(t *testing.T) {
	d := solvertest.NewDNS(t)
	d.Zone("example.com", "192.0.2.1")
	var first atomic.Bool
	d.Resolver.Answer(func(n string, q, r *dnsmessage.Message) [][]byte {
		if q.Questions[0].Type == typeCAA && !first.Swap(true) {
			return solvertest.Failing(dnsmessage.RCodeServerFailure)(n, q, r)
		}
		return solvertest.Pack(r)
	})
	i := &inspection{from: Vantage{DNS: &solver.DNS{Resolvers: []string{solvertest.ResolverAddr}, Dial: d.Dial}}}
	i.begin(t.Context())
	_, err := i.lookup(t.Context(), "example.com", typeCAA)
	if v := i.judgeLookup(err); v != nil {
		t.Error(v.reason)
	}
}
