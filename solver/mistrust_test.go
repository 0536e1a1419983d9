package solver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// CNAMEs are followed as far as CAs do.
func TestAliasChainEnds(t *testing.T) {
	r := &reply{}
	long := strings.Repeat("a23456789.", 23)
	for i := range 1000 {
		r.Answers = append(r.Answers, testRecord(fmt.Sprintf("n%d.%s", i, long), "CNAME", fmt.Sprintf("n%d.%s", i+1, long)))
	}
	if end := r.follow("n0." + long); strings.HasPrefix(end, "n1000.") {
		t.Error("a thousand CNAMEs were followed")
	}
}

// A dial that fails for a moment does not leave the server out.
func TestDialFailureIsNoMissingRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := NewMemoryDNS(t)
		spreadOver(d, "192.0.2.1", "192.0.2.2") // ns2 lacks the record
		client := d.Client()
		start := time.Now()
		client.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if address == "192.0.2.2:53" && time.Since(start) < time.Second {
				return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("socket", syscall.EMFILE)}
			}
			return d.Dial(ctx, network, address)
		}
		p := Propagation{Timeout: time.Minute}
		if err := p.wait(t.Context(), client.during(t.Context(), ""), challengeName, "value"); err == nil {
			t.Errorf("spread after %v, though ns2 never had the record", time.Since(start))
		}
	})
}

type nopProvider struct{}

func (nopProvider) AppendRecord(context.Context, Record) error { return nil }

func (nopProvider) DeleteRecord(context.Context, Record) error { return nil }

// Addresses that are no part of the Internet are none that a redirect from there may lead to.
func TestScope(t *testing.T) {
	for text, want := range map[string]scope{
		"192.0.0.192": scopeLink, "198.18.0.1": scopePrivate, "240.0.0.1": scopePrivate, "64:ff9b:1::a9fe:a9fe": scopePrivate,
		"2002:7f00:1::1": scopeHost, "fec0::1": scopePrivate, "::127.0.0.1": scopeHost,
	} {
		if got := scopeOf(netip.MustParseAddr(text)); got > want {
			t.Errorf("%s is %s", text, got.words())
		}
	}
}

func TestProbeNameTooLong(t *testing.T) {
	d := NewTestDNS(t)
	parent := strings.Repeat("abcdefghi.", 22) + strings.Repeat("b", 15) + ".example.org" // 220+15+12=247
	servers := d.Zone("example.com", "192.0.2.1")
	d.Zone("example.org", "192.0.2.2")
	servers[0].Add(challengeName, "CNAME", "x."+parent)
	d.Nameserver("192.0.2.2").Add("x."+parent, "CNAME", "y.example.org")
	z := &zoneEditor{dns: d.Client(), provider: nopProvider{}, followCNAME: true}
	_, err := z.place(t.Context(), challengeName, "value", 0)
	if err != nil {
		t.Error(err)
	}
}

// A resolver that fails once is no sign of broken DNSSEC.
func TestTransientServfail(t *testing.T) {
	d := NewTestDNS(t)
	d.Zone("example.com", "192.0.2.1")
	var first atomic.Bool
	d.Resolver.Answer(func(n string, q, r *dnsmessage.Message) [][]byte {
		if q.Questions[0].Type == typeCAA && !first.Swap(true) {
			return Failing(dnsmessage.RCodeServerFailure)(n, q, r)
		}
		return PackDNS(r)
	})
	i := &inspection{from: Vantage{DNS: d.Client()}}
	i.begin(t.Context())
	_, err := i.lookup(t.Context(), "example.com", typeCAA)
	if v := i.judgeLookup(err); v != nil {
		t.Error(v.reason)
	}
}

var _ = errors.New

// One secret may begin as another does.
func TestOverlappingSecrets(t *testing.T) {
	var output tail
	output.Write([]byte("login with secret-0123456789abcdef failed"))
	text := output.last([]string{"USER_ID=secret", "TOKEN=secret-0123456789abcdef"}).Error()
	if strings.Contains(text, "0123456789abcdef") {
		t.Errorf("%q", text)
	}
}
