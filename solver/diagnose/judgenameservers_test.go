package diagnose

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/everseal/everseal/solver/internal/dnsclient"
	"golang.org/x/net/dns/dnsmessage"
)

// What was not asked for want of packets says nothing of a server.
func TestServersNotAskedAreNotFaulty(t *testing.T) {
	refuse := func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("refused") }
	c := dnsclient.New(t.Context(), &dnsclient.Settings{Dial: refuse}, "")
	ns := dnsclient.Nameserver{Name: "ns.example.com", Addr: netip.MustParseAddrPort("192.0.2.1:53")}
	for {
		_, err := c.Exchange(t.Context(), ns.Addr.String(), dnsclient.Query{Name: "example.com", Type: dnsmessage.TypeA})
		fault := silentServer(ns, err)
		if !errors.Is(err, dnsclient.ErrSpent) {
			if fault == nil {
				t.Fatalf("%v: nothing is said of it", err)
			}
			continue
		}
		if fault != nil {
			t.Errorf("%v: it is said to be %+v", err, fault)
		}
		return
	}
}
