package dnsclient

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sync/errgroup"

	"github.com/everseal/everseal/solver/internal/escape"
)

const (
	maxNameservers = 16 // of a zone, by name; the root has 13
	maxAddresses   = 8  // of one name server
	maxServers     = 24 // of a zone, by address

	// Of a zone on the way, such as one that a CNAME leads through, some servers are enough.
	someNameservers = 3
	someAddresses   = 2 // one of each family
)

// A Nameserver is one address of an authoritative server.
type Nameserver struct {
	Name string
	Addr netip.AddrPort // invalid if the name has no address
	Err  error          // why it cannot be asked
}

// Nameservers returns the servers that a zone's NS records name, each with all of its addresses; one that cannot or
// must not be asked is returned with the reason. Of a zone with more than 16 names, 8 addresses of one or 24 in
// all, some of each name are taken. It is an error if there is no NS record.
func (c *Client) Nameservers(ctx context.Context, zone string) ([]Nameserver, error) {
	names, err := c.nameserverNames(ctx, zone)
	if err != nil {
		return nil, err
	}
	return c.locate(ctx, names[:min(len(names), maxNameservers)], maxAddresses), nil
}

// FewNameservers is Nameservers for when some of them are enough.
func (c *Client) FewNameservers(ctx context.Context, zone string) ([]Nameserver, error) {
	names, err := c.nameserverNames(ctx, zone)
	if err != nil {
		return nil, err
	}
	return c.locate(ctx, names[:min(len(names), someNameservers)], someAddresses), nil
}

func (c *Client) nameserverNames(ctx context.Context, zone string) ([]string, error) {
	r, err := c.Resolve(ctx, zone, dnsmessage.TypeNS)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, record := range r.Answers {
		if ns, ok := record.Body.(*dnsmessage.NSResource); ok && SameName(record.Header.Name.String(), zone) {
			names = append(names, BareName(ns.NS.String()))
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%.260q has no NS records: the resolver says %s", BareName(zone), RCodeText(r.RCode))
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// locate looks up where the name servers are.
func (c *Client) locate(ctx context.Context, names []string, addresses int) []Nameserver {
	found := make([][]Nameserver, len(names))
	var asking errgroup.Group
	asking.SetLimit(8)
	for i, name := range names {
		asking.Go(func() error {
			found[i] = c.nameserver(ctx, name)
			return nil
		})
	}
	asking.Wait()
	seen := make(map[netip.AddrPort]bool)
	total := 0
	for i := range found {
		found[i] = slices.DeleteFunc(found[i], func(s Nameserver) bool {
			repeated := s.Addr.IsValid() && seen[s.Addr]
			seen[s.Addr] = true
			return repeated
		})
		found[i] = found[i][:min(len(found[i]), addresses)]
		total += len(found[i])
	}
	for ; total > maxServers; total-- {
		longest := 0
		for i := range found {
			if len(found[i]) > len(found[longest]) {
				longest = i
			}
		}
		found[longest] = found[longest][:len(found[longest])-1]
	}
	servers := slices.Concat(found...)
	for i := range servers {
		if s := &servers[i]; s.Err == nil {
			s.Err = c.call.admit(s.Addr)
		}
	}
	return servers
}

// nameserver returns all addresses of a name server, of one family and the other by turns, IPv6 first.
func (c *Client) nameserver(ctx context.Context, name string) []Nameserver {
	addrs, err := c.Addresses(ctx, name)
	if err != nil {
		return []Nameserver{{Name: name, Err: err}}
	}
	var servers []Nameserver
	for len(addrs) > 0 {
		next := 0
		if len(servers) > 0 {
			other := func(addr netip.Addr) bool { return addr.Is4() != servers[len(servers)-1].Addr.Addr().Is4() }
			next = max(slices.IndexFunc(addrs, other), 0)
		}
		servers = append(servers, Nameserver{Name: name, Addr: netip.AddrPortFrom(addrs[next], 53)})
		addrs = slices.Delete(addrs, next, next+1)
	}
	return servers
}

// Text is how a name server stands in sentences.
func (ns Nameserver) Text() string {
	if !ns.Addr.IsValid() {
		return escape.Text(ns.Name, 260)
	}
	return fmt.Sprintf("%s (%v)", escape.Text(ns.Name, 260), ns.Addr.Addr())
}
