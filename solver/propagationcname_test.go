package solver

import (
	"testing"
	"testing/synctest"

	"github.com/everseal/everseal/solver/internal/dnsclient"
	"github.com/everseal/everseal/solver/internal/solvertest"
	"golang.org/x/net/dns/dnsmessage"
)

// A resolver that was asked for the name before goes on saying that a wildcard's CNAME is there, when the
// record beside the wildcard has been created. Every CA sees the record, and so does the wait.
func TestPropagationIsNotMisledByACachedWildcard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := solvertest.NewMemoryDNS(t)
		spreadOver(d, "192.0.2.1")[0].Add("*.example.com", "CNAME", "site.host.example")
		d.Zone("host.example", "192.0.2.9")
		d.Resolver.Answer(func(_ string, query, reply *dnsmessage.Message) [][]byte {
			if dnsclient.SameName(query.Questions[0].Name.String(), solvertest.ChallengeName) {
				reply.Answers = []dnsmessage.Resource{solvertest.NewRecord(solvertest.ChallengeName, "CNAME", "site.host.example")}
			}
			return solvertest.Pack(reply)
		})
		wantSpread(t, d, Propagation{}, 0)
	})
}

// A CNAME that is there is followed, though one server of its zone is silent.
func TestPropagationFollowsACNAME(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := solvertest.NewMemoryDNS(t)
		own := d.Zone("example.com", "192.0.2.1", "192.0.2.2")
		own[0].Add(solvertest.ChallengeName, "CNAME", "challenge.host.example")
		own[1].Answer(solvertest.Failing(dnsmessage.RCodeServerFailure))
		d.Zone("host.example", "192.0.2.9")[0].Add("challenge.host.example", "TXT", "value")
		wantSpread(t, d, Propagation{}, 0)
	})
}

// The record of another proof at the name has ended the wildcard's CNAME, there and beside, while the resolver
// still tells of it.
func TestAWildcardThatHasGoneIsNotFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := solvertest.NewMemoryDNS(t)
		d.Zone("example.com", "192.0.2.1")[0].Add(solvertest.ChallengeName, "TXT", "of the other proof")
		d.Zone("host.example", "192.0.2.9")
		d.Resolver.Answer(func(_ string, query, reply *dnsmessage.Message) [][]byte {
			if q := query.Questions[0]; dnsclient.SameName(q.Name.String(), solvertest.ChallengeName) && q.Type == dnsmessage.TypeCNAME {
				reply.Answers = []dnsmessage.Resource{solvertest.NewRecord(solvertest.ChallengeName, "CNAME", "site.host.example")}
			}
			return solvertest.Pack(reply)
		})
		z := &zoneEditor{dns: dnsOf(d).client(t.Context(), ""), provider: nopProvider{}, followCNAME: true}
		if r, err := z.place(t.Context(), solvertest.ChallengeName, "value", 0); err != nil || r.Name != solvertest.ChallengeName {
			t.Errorf("the record is to be created at %s, %v", r.Name, err)
		}
	})
}
