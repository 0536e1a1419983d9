package solvertest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/everseal/everseal/acme"
)

// A DialLog notes what is dialled on the way to a DNS in memory. Servers that are not in it take connections, and say
// nothing.
type DialLog struct {
	DNS *DNS

	mu        sync.Mutex // guards what follows
	addresses []string
	open      int
	maxOpen   int
}

// Dial connects to an address, and notes it.
func (l *DialLog) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	l.mu.Lock()
	l.addresses = append(l.addresses, address)
	l.open++
	l.maxOpen = max(l.maxOpen, l.open)
	l.mu.Unlock()
	conn, err := l.DNS.Dial(ctx, network, address)
	if err != nil {
		var silent net.Conn
		conn, silent = net.Pipe()
		go io.Copy(io.Discard, silent)
	}
	return &loggedConn{Conn: conn, log: l}, nil
}

// Inside returns the addresses dialled that are not of the Internet.
func (l *DialLog) Inside() (addresses []string) {
	for _, address := range l.addresses {
		addr := netip.MustParseAddrPort(address).Addr().Unmap()
		if addr.IsLoopback() || addr.IsPrivate() || addr.IsLinkLocalUnicast() || addr.IsUnspecified() || addr.IsMulticast() {
			addresses = append(addresses, address)
		}
	}
	return addresses
}

// targets returns how many addresses were dialled.
func (l *DialLog) targets() int {
	different := make(map[string]bool)
	for _, address := range l.addresses {
		different[address] = true
	}
	return len(different)
}

type loggedConn struct {
	net.Conn
	log    *DialLog
	closed sync.Once
}

func (c *loggedConn) Close() error {
	c.closed.Do(func() {
		c.log.mu.Lock()
		c.log.open--
		c.log.mu.Unlock()
	})
	return c.Conn.Close()
}

// Insiders returns addresses that no CA on the Internet reaches.
func Insiders() []string {
	return []string{
		"127.0.0.1", "169.254.169.254", "10.0.0.5", "0.0.0.0", "224.0.0.251", "::1", "fd00::5", "fe80::1", "::ffff:127.0.0.1",
		"64:ff9b::a9fe:a9fe", "::ffff:0:10.0.0.5", "2001:0:c000:201::f5ff:fffa",
	}
}

// LeadInside has the zone example.com name servers at the insiders too. All have the
// record that answers its proof for dns-01.
func LeadInside(d *DNS) *DialLog {
	servers := d.Zone("example.com", append([]string{"192.0.2.1"}, Insiders()...)...)
	for _, s := range servers {
		s.Add(ChallengeName, "TXT", ValueOf(NewProof(acme.TypeDNS01, "example.com")))
	}
	return &DialLog{DNS: d}
}

// HostileChain has the challenge lead along ten CNAMEs through as many zones, each with a thousand servers that take
// connections and are silent.
func HostileChain(t *testing.T) *DialLog {
	d := NewMemoryDNS(t)
	name := ChallengeName
	for i := range 11 {
		zone := map[bool]string{true: "example.com", false: fmt.Sprintf("hostile%d.example", i)}[i == 0]
		s := d.Zone(zone, fmt.Sprintf("192.0.2.%d", 100+i))[0]
		for j := range 50 {
			ns := fmt.Sprintf("silent%d.%s", j, zone)
			s.Add(zone, "NS", ns)
			for k := range 20 {
				s.Add(ns, "A", fmt.Sprintf("%d.%d.1.%d", 11+i, j, k))
			}
		}
		s.Remove(zone, "NS", "ns1."+zone)
		if next := fmt.Sprintf("_acme-challenge.hostile%d.example", i+1); i < 10 {
			s.Add(name, "CNAME", next)
			name = next
		}
	}
	return &DialLog{DNS: d}
}

// WantCost fails the test if more was sent than that.
func (l *DialLog) WantCost(t *testing.T, packets, targets int) {
	t.Helper()
	const sockets = 40
	t.Logf("%d packets, to %d targets, by %d sockets at once", len(l.addresses), l.targets(), l.maxOpen)
	if len(l.addresses) > packets || l.targets() > targets || l.maxOpen > sockets {
		t.Errorf("more than %d packets, %d targets or %d sockets", packets, targets, sockets)
	}
	if l.open != 0 {
		t.Errorf("%d sockets are left", l.open)
	}
}
