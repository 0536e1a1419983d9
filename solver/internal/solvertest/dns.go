// Package solvertest has what the tests of solvers share: a Domain Name System, and a CA's validation.
package solvertest

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// ChallengeName is where a CA looks for the record of example.com (RFC 8555 §8.4).
const ChallengeName = "_acme-challenge.example.com"

// ResolverAddr is where a DNS has its resolver.
const ResolverAddr = "192.0.2.53"

// A DNS is a Domain Name System of its own: authoritative servers, each with an address and records of
// its own, and a resolver that knows them all. It is reached by Dial alone: over sockets on
// loopback, or in memory, which a synctest bubble needs.
type DNS struct {
	// Resolver asks, for each name, the server that first got the zone; that server's Answer does not bear on it.
	Resolver *Nameserver

	t        testing.TB
	inMemory bool

	mu      sync.Mutex // guards what follows, and the servers' zones and records
	servers map[string]*Nameserver
	ordered []*Nameserver
}

// NewDNS returns a DNS on loopback sockets, which are closed at the test's end.
func NewDNS(t testing.TB) *DNS { return newDNS(t, false) }

// NewMemoryDNS returns a DNS in memory.
func NewMemoryDNS(t testing.TB) *DNS { return newDNS(t, true) }

func newDNS(t testing.TB, inMemory bool) *DNS {
	d := &DNS{t: t, inMemory: inMemory, servers: make(map[string]*Nameserver)}
	d.Resolver = d.Nameserver(ResolverAddr)
	return d
}

// Nameserver returns the server at an IP address. One that is new holds no zone.
func (d *DNS) Nameserver(address string) *Nameserver {
	d.t.Helper()
	addr := netip.MustParseAddr(address)
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.servers[addr.String()]
	if s == nil {
		s = &Nameserver{dns: d, records: make(map[string][]dnsmessage.Resource)}
		if !d.inMemory {
			s.listen(d.t)
		}
		d.servers[addr.String()] = s
		d.ordered = append(d.ordered, s)
	}
	return s
}

// Zone makes a zone that is held by a server at each of the addresses: ns1.<zone>, ns2.<zone> and so on.
func (d *DNS) Zone(zone string, addresses ...string) []*Nameserver {
	d.t.Helper()
	var servers []*Nameserver
	for _, address := range addresses {
		servers = append(servers, d.Nameserver(address))
	}
	for _, s := range servers {
		s.Hold(zone)
		for i, address := range addresses {
			name := fmt.Sprintf("ns%d.%s", i+1, zone)
			s.Add(zone, "NS", name)
			s.Add(name, map[bool]string{true: "AAAA", false: "A"}[strings.Contains(address, ":")], address)
		}
	}
	return servers
}

// Dial connects to the server at an address. One that is not there fails as if there were no route to it.
func (d *DNS) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	s := d.servers[at.Addr().String()]
	d.mu.Unlock()
	if s == nil || at.Port() != 53 {
		return nil, fmt.Errorf("no route to %s: %w", address, syscall.ENETUNREACH)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if d.inMemory {
		client, server := net.Pipe()
		go s.serve(network, server)
		return client, nil
	}
	return new(net.Dialer).DialContext(ctx, network, map[string]string{"udp": s.udp, "tcp": s.tcp}[network])
}

// Unroute takes the way to a server away.
func (d *DNS) Unroute(address string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.servers, address)
}

// holder returns the first server of the closest zone, or the resolver, which holds none.
func (d *DNS) holder(name string) *Nameserver {
	best := d.Resolver
	for _, s := range d.ordered {
		if len(s.zoneOf(name)) > len(best.zoneOf(name)) {
			best = s
		}
	}
	return best
}

// SecondResolver returns a server that has the answers of the resolver.
func (d *DNS) SecondResolver(address string) *Nameserver {
	second := d.Nameserver(address)
	second.Answer(func(_ string, query, _ *dnsmessage.Message) [][]byte {
		d.mu.Lock()
		defer d.mu.Unlock()
		return Pack(d.Resolver.reply(*query))
	})
	return second
}

// TXT returns the values of the TXT records that the resolver has at a name or where CNAMEs lead from there.
func (d *DNS) TXT(name string) (values []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	question := dnsmessage.Question{Name: NewName(name), Type: dnsmessage.TypeTXT, Class: dnsmessage.ClassINET}
	for _, record := range d.Resolver.reply(dnsmessage.Message{Questions: []dnsmessage.Question{question}}).Answers {
		if txt, ok := record.Body.(*dnsmessage.TXTResource); ok {
			values = append(values, strings.Join(txt.TXT, ""))
		}
	}
	return values
}
