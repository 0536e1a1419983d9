package dnsclient

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/everseal/everseal/solver/internal/solvertest"
	"golang.org/x/net/dns/dnsmessage"
)

func TestAddresses(t *testing.T) {
	d := solvertest.NewDNS(t)
	s := challengeServer(d)
	s.Add("www.example.com", "CNAME", "host.example.com")
	s.Add("host.example.com", "A", "192.0.2.80")
	s.Add("host.example.com", "AAAA", "2001:db8::80")
	s.Add("host.example.com", "A", "192.0.2.81")
	got, err := clientOf(t, d).Addresses(t.Context(), "www.example.com")
	want := []netip.Addr{netip.MustParseAddr("2001:db8::80"), netip.MustParseAddr("192.0.2.80"), netip.MustParseAddr("192.0.2.81")}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	for _, host := range []string{"example.com", "none.example.com"} {
		_, err := clientOf(t, d).Addresses(t.Context(), host)
		if cause, ok := errors.AsType[*net.DNSError](err); !ok || !cause.IsNotFound || !strings.Contains(err.Error(), host) {
			t.Errorf("%s: %v", host, err)
		}
	}
	// A server that fails at AAAA is common and no reason to miss A.
	failing := func(types ...dnsmessage.Type) solvertest.Answer {
		return func(network string, query, reply *dnsmessage.Message) [][]byte {
			if slices.Contains(types, query.Questions[0].Type) {
				return solvertest.Failing(dnsmessage.RCodeServerFailure)(network, query, reply)
			}
			return solvertest.Pack(reply)
		}
	}
	d.Resolver.Answer(failing(dnsmessage.TypeAAAA))
	if got, err := clientOf(t, d).Addresses(t.Context(), "www.example.com"); err != nil || !slices.Equal(got, want[1:]) {
		t.Errorf("%v, %v, want %v", got, err, want[1:])
	}
	d.Resolver.Answer(failing(dnsmessage.TypeAAAA, dnsmessage.TypeA))
	if _, err := clientOf(t, d).Addresses(t.Context(), "www.example.com"); !errors.Is(err, RCodeError(dnsmessage.RCodeServerFailure)) {
		t.Errorf("got %v", err)
	}
}
