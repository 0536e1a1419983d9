package solver

import (
	"testing"
	"testing/synctest"

	"golang.org/x/net/dns/dnsmessage"
)

// A resolver that was asked for the name before goes on saying that a wildcard's CNAME is there, when the
// record beside the wildcard has been created. Every CA sees the record, and so does the wait.
func TestPropagationIsNotMisledByACachedWildcard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := NewMemoryDNS(t)
		spreadOver(d, "192.0.2.1")[0].Add("*.example.com", "CNAME", "site.host.example")
		d.Zone("host.example", "192.0.2.9")
		d.Resolver.Answer(func(_ string, query, reply *dnsmessage.Message) [][]byte {
			if sameName(query.Questions[0].Name.String(), challengeName) {
				reply.Answers = []dnsmessage.Resource{testRecord(challengeName, "CNAME", "site.host.example")}
			}
			return PackDNS(reply)
		})
		wantSpread(t, d, Propagation{}, 0)
	})
}

// A CNAME that is there is followed, though one server of its zone is silent.
func TestPropagationFollowsACNAME(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := NewMemoryDNS(t)
		own := d.Zone("example.com", "192.0.2.1", "192.0.2.2")
		own[0].Add(challengeName, "CNAME", "challenge.host.example")
		own[1].Answer(Failing(dnsmessage.RCodeServerFailure))
		d.Zone("host.example", "192.0.2.9")[0].Add("challenge.host.example", "TXT", "value")
		wantSpread(t, d, Propagation{}, 0)
	})
}

// The record of another proof at the name has ended the wildcard's CNAME, there and beside, while the resolver
// still tells of it.
func TestAWildcardThatHasGoneIsNotFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := NewMemoryDNS(t)
		d.Zone("example.com", "192.0.2.1")[0].Add(challengeName, "TXT", "of the other proof")
		d.Zone("host.example", "192.0.2.9")
		d.Resolver.Answer(func(_ string, query, reply *dnsmessage.Message) [][]byte {
			if q := query.Questions[0]; sameName(q.Name.String(), challengeName) && q.Type == dnsmessage.TypeCNAME {
				reply.Answers = []dnsmessage.Resource{testRecord(challengeName, "CNAME", "site.host.example")}
			}
			return PackDNS(reply)
		})
		z := &zoneEditor{dns: d.Client(), provider: nopProvider{}, followCNAME: true}
		if r, err := z.place(t.Context(), challengeName, "value", 0); err != nil || r.Name != challengeName {
			t.Errorf("the record is to be created at %s, %v", r.Name, err)
		}
	})
}
