package dnsclient

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/solver/internal/solvertest"
	"golang.org/x/net/dns/dnsmessage"
)

func TestTargetsAreBounded(t *testing.T) {
	d := New(t.Context(), nil, "https://192.0.2.1/directory")
	server := func(i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, 198<<24|uint32(i)))), 53)
	}
	for i := range maxTargets {
		if err := d.call.admit(server(i)); err != nil {
			t.Fatalf("the %dth: %v", i+1, err)
		}
	}
	for _, call := range []*call{d.call, d.Fresh().call, d.Uncounted().call} {
		if err := call.admit(server(maxTargets)); err == nil || !strings.Contains(err.Error(), "zones have led to 100 servers already") {
			t.Errorf("one more: %v", err)
		}
		if err := call.admit(server(0)); err != nil {
			t.Errorf("one that is known: %v", err)
		}
	}
}

func TestPacketsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := New(t.Context(), nil, "https://192.0.2.1/directory")
		sent := func() (n int) {
			for {
				done, err := d.Fresh().call.open(t.Context())
				if errors.Is(err, ErrSpent) {
					return n
				}
				done()
				n++
			}
		}
		if n := sent(); n != maxPackets {
			t.Errorf("%d were sent, want %d", n, maxPackets)
		}
		time.Sleep(10 * packetInterval)
		if n := sent(); n != 10 {
			t.Errorf("after a while %d more were sent, want 10", n)
		}
		if done, err := d.Uncounted().call.open(t.Context()); err != nil {
			t.Errorf("of those that are bounded otherwise: %v", err)
		} else {
			done()
		}
	})
}

func TestSocketsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := New(t.Context(), nil, "https://192.0.2.1/directory")
		var done func()
		for range maxSockets {
			var err error
			if done, err = d.call.open(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for _, call := range []*call{d.call, d.Fresh().call, d.Uncounted().call} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			if _, err := call.open(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("one more was opened: %v", err)
			}
			cancel()
		}
		done()
		if _, err := d.call.open(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A resolver is asked once in a call. When servers are looked up anew, it is asked again; a failure is not remembered.
func TestAnswersAreRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := solvertest.NewMemoryDNS(t)
		network.Zone("example.com", "192.0.2.1")[0].Add("example.com", "A", "192.0.2.7")
		d := clientOf(t, network)
		for range 3 {
			for _, name := range []string{"example.com", "EXAMPLE.com."} {
				if _, err := d.Resolve(t.Context(), name, dnsmessage.TypeA); err != nil {
					t.Fatal(err)
				}
			}
		}
		if n := network.Resolver.Asked("example.com", "A"); n != 1 {
			t.Errorf("asked %d times, want 1", n)
		}
		for want := 2; want <= 3; want++ {
			if _, err := d.Fresh().Resolve(t.Context(), "example.com", dnsmessage.TypeA); err != nil {
				t.Fatal(err)
			}
			if n := network.Resolver.Asked("example.com", "A"); n != want {
				t.Errorf("asked %d times anew, want %d", n, want)
			}
		}
		network.Resolver.Answer(solvertest.Failing(dnsmessage.RCodeServerFailure))
		if _, err := d.Resolve(t.Context(), "www.example.com", dnsmessage.TypeA); err == nil {
			t.Fatal("no failure")
		}
		network.Resolver.Answer(nil)
		if _, err := d.Resolve(t.Context(), "www.example.com", dnsmessage.TypeA); err != nil {
			t.Error(err)
		}
	})
}
