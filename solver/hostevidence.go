package solver

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/everseal/everseal/acme"
	"golang.org/x/net/dns/dnsmessage"
)

// hostEvidence is where the identifier leads.
type hostEvidence struct {
	resolved      []netip.Addr    // by the resolvers
	absent        bool            // the resolvers say that there is no such name
	extended      []extendedError // of the resolvers
	errs          []error         // *lookupError: of A, of AAAA, or of both
	authoritative []netip.Addr    // by the zone's own servers
	authority     string          // one of the servers that answered; empty: none did
	zone          string          // whose servers were asked last
	faulty        []faultyServer
	sources       map[netip.Addr][]string
}

const (
	maxVisits = 4 // of each address family
	maxChain  = 5 // zones that CNAMEs lead through

	// authorityTimeout is for the authoritative servers as long as no CA has failed: many networks let no DNS out
	// but to their resolvers, and the visits must not wait for that.
	authorityTimeout = 2 * time.Second
)

// addressTypes are the types of address records. CAs try IPv6 first.
func addressTypes() []dnsmessage.Type {
	return []dnsmessage.Type{dnsmessage.TypeAAAA, dnsmessage.TypeA}
}

// source notes from which record of whom an address is.
func (h *hostEvidence) source(addr netip.Addr, qtype dnsmessage.Type, server string) {
	if h.sources == nil {
		h.sources = make(map[netip.Addr][]string)
	}
	if words := typeText(qtype) + " by " + server; !slices.Contains(h.sources[addr], words) {
		h.sources[addr] = append(h.sources[addr], words)
	}
}

// findHosts asks resolvers and authoritative servers for the identifier's addresses.
func (i *inspection) findHosts(ctx context.Context) hostEvidence {
	var h hostEvidence
	name := i.domain
	if i.proof.Identifier.Type == acme.TypeIP {
		addr, _ := netip.ParseAddr(name) // checkProof has parsed it
		h.resolved = []netip.Addr{addr}
		return h
	}
	types := addressTypes()
	replies, errs := make([]*reply, len(types)), make([]error, len(types))
	var asking sync.WaitGroup
	for j, qtype := range types {
		asking.Go(func() { replies[j], errs[j] = i.lookup(ctx, name, qtype) })
	}
	var authoritative hostEvidence
	asking.Go(func() {
		if !i.failed {
			limited, cancel := context.WithTimeout(ctx, authorityTimeout)
			defer cancel()
			i.findAuthoritative(limited, name, &authoritative)
			return
		}
		i.findAuthoritative(ctx, name, &authoritative)
	})
	asking.Wait()
	h = authoritative
	for j, r := range replies {
		if errs[j] != nil {
			h.errs = append(h.errs, errs[j])
			continue
		}
		h.absent = r.RCode == dnsmessage.RCodeNameError
		h.extended = append(h.extended, r.Extended...)
		for _, addr := range addressValues(r, name) {
			h.resolved = append(h.resolved, addr)
			h.source(addr, types[j], "resolver")
		}
	}
	return h
}

// findAuthoritative asks the servers of the name's zone, and of those that CNAMEs lead into. Where they
// cannot be asked, nothing is known.
func (i *inspection) findAuthoritative(ctx context.Context, name string, h *hostEvidence) {
	for range maxChain {
		zone, err := i.dns.zone(ctx, name)
		if err != nil {
			return
		}
		find := i.dns.fewNameservers
		if i.failed {
			find = i.dns.nameservers // each may be the one that failed the CA
		}
		servers, err := find(ctx, zone)
		if err != nil {
			return
		}
		h.zone, h.faulty = zone, nil
		alias := i.askAddresses(ctx, servers, name, h)
		if alias == "" || len(h.authoritative) > 0 {
			return
		}
		h.authority, name = "", alias
	}
}

// askAddresses asks each of the servers and returns to where they say a CNAME leads.
func (i *inspection) askAddresses(ctx context.Context, servers []nameserver, name string, h *hostEvidence) (alias string) {
	var mu sync.Mutex // guards h and alias
	var asking sync.WaitGroup
	for _, server := range servers {
		for _, qtype := range addressTypes() {
			asking.Go(func() {
				r, fault := i.askFor(ctx, server, name, qtype)
				mu.Lock()
				defer mu.Unlock()
				if fault != nil {
					h.addFaulty(*fault)
				}
				if r == nil {
					return
				}
				if h.authority == "" || server.text() < h.authority {
					h.authority = server.text()
				}
				if target := r.follow(name); !sameName(target, name) {
					alias = target
				}
				for _, addr := range addressValues(r, name) {
					h.source(addr, qtype, server.text())
					if !slices.Contains(h.authoritative, addr) {
						h.authoritative = append(h.authoritative, addr)
					}
				}
			})
		}
	}
	asking.Wait()
	return alias
}

// addFaulty notes a server once, in the order of their names.
func (h *hostEvidence) addFaulty(s faultyServer) {
	at, known := slices.BinarySearchFunc(h.faulty, s.text(), func(other faultyServer, text string) int {
		return strings.Compare(other.text(), text)
	})
	if !known {
		h.faulty = slices.Insert(h.faulty, at, s)
	}
}

// addresses returns all that are to be visited, some of each family, IPv6 first.
func (h *hostEvidence) addresses() []netip.Addr {
	var families [2][]netip.Addr
	for _, addr := range slices.Concat(h.authoritative, h.resolved) {
		family := &families[1]
		if addr.Is6() {
			family = &families[0]
		}
		if !slices.Contains(*family, addr) {
			*family = append(*family, addr)
		}
	}
	for f := range families {
		slices.SortFunc(families[f], netip.Addr.Compare) // zones give them in no order
		families[f] = families[f][:min(len(families[f]), maxVisits)]
	}
	return slices.Concat(families[0], families[1])
}

// visitAll visits each address.
func (i *inspection) visitAll(ctx context.Context) []visit {
	addrs := i.hosts.addresses()
	visits := make([]visit, len(addrs))
	var visiting sync.WaitGroup
	for j, addr := range addrs {
		visiting.Go(func() {
			visits[j] = i.visit(ctx, addr)
			visits[j].Address, visits[j].Sources = addr, slices.Sorted(slices.Values(i.hosts.sources[addr]))
		})
	}
	visiting.Wait()
	return visits
}

func (i *inspection) visit(ctx context.Context, addr netip.Addr) visit {
	if err := checkAddress(addr, i.private); err != nil {
		return visit{outcome: outcomeNotVisited, err: err}
	}
	connect := i.connector(addr)
	if i.proof.Type == acme.TypeHTTP01 {
		return visitHTTP(ctx, i.answer, connect)
	}
	v := visitTLS(ctx, i.answer, connect)
	switch v.outcome {
	case outcomeWrong, outcomeNoALPN, outcomeBroken:
		v.addFrontend(ctx, i.answer, connect)
	}
	return v
}

// An unresolvedError says that a redirect's host has no address.
type unresolvedError struct{ err error }

func (e *unresolvedError) Error() string { return e.err.Error() }

func (e *unresolvedError) Unwrap() error { return e.err }

// connector returns a connectFunc that takes the identifier to be at addr, and looks up other hosts.
func (i *inspection) connector(addr netip.Addr) connectFunc {
	return func(ctx context.Context, host, port string, from netip.Addr) (net.Conn, netip.AddrPort, error) {
		candidates := []netip.Addr{addr}
		if !strings.EqualFold(host, i.domain) {
			var err error
			if candidates, err = i.redirectAddresses(ctx, host, from); err != nil {
				return nil, netip.AddrPort{}, err
			}
		}
		number := map[string]uint16{"80": 80, "443": 443}[port] // checkRedirect lets no others pass
		var failure error
		for _, candidate := range candidates {
			target := netip.AddrPortFrom(candidate, number)
			conn, err := dialer(i.from.Dial)(ctx, "tcp", target.String())
			if err == nil {
				return conn, target, nil
			}
			if failure == nil || isUnknownWay(failure) {
				failure = err
			}
		}
		return nil, netip.AddrPort{}, failure
	}
}

// redirectAddresses returns where a host that was redirected to is to be asked: at one address of each family, as
// CAs do, IPv6 first.
func (i *inspection) redirectAddresses(ctx context.Context, host string, from netip.Addr) ([]netip.Addr, error) {
	addr, err := netip.ParseAddr(host)
	addrs := []netip.Addr{addr}
	if err != nil {
		if addrs, err = i.dns.addresses(ctx, host); err != nil {
			return nil, &unresolvedError{err}
		}
	}
	for _, addr := range addrs {
		if err := checkRedirectAddress(from, addr, i.private); err != nil {
			return nil, redirectError(err)
		}
	}
	other := func(addr netip.Addr) bool { return addr.Is4() != addrs[0].Is4() }
	if second := slices.IndexFunc(addrs, other); second >= 0 {
		return []netip.Addr{addrs[0], addrs[second]}, nil
	}
	return addrs[:1], nil
}
