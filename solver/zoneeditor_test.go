package solver

import (
	"context"
	"strings"
	"testing"

	"github.com/everseal/everseal/solver/internal/solvertest"
)

type nopProvider struct{}

func (nopProvider) AppendRecord(context.Context, Record) error { return nil }

func (nopProvider) DeleteRecord(context.Context, Record) error { return nil }

func TestProbeNameTooLong(t *testing.T) {
	d := solvertest.NewDNS(t)
	parent := strings.Repeat("abcdefghi.", 22) + strings.Repeat("b", 15) + ".example.org" // 220+15+12=247
	servers := d.Zone("example.com", "192.0.2.1")
	d.Zone("example.org", "192.0.2.2")
	servers[0].Add(solvertest.ChallengeName, "CNAME", "x."+parent)
	d.Nameserver("192.0.2.2").Add("x."+parent, "CNAME", "y.example.org")
	z := &zoneEditor{dns: dnsOf(d).client(t.Context(), ""), provider: nopProvider{}, followCNAME: true}
	_, err := z.place(t.Context(), solvertest.ChallengeName, "value", 0)
	if err != nil {
		t.Error(err)
	}
}
