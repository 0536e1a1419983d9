package diagnose

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver/internal/dnsclient"
	"github.com/everseal/everseal/solver/internal/reach"
	"golang.org/x/net/dns/dnsmessage"
)

// hostEvidence is where the identifier leads.
type hostEvidence struct {
	resolved      []netip.Addr              // by the resolvers
	absent        bool                      // the resolvers say that there is no such name
	extended      []dnsclient.ExtendedError // of the resolvers
	errs          []error                   // *lookupError: of A, of AAAA, or of both
	authoritative []netip.Addr              // by the zone's own servers
	authority     string                    // one of the servers that answered; empty: none did
	zone          string                    // whose servers were asked last
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
	if words := dnsclient.TypeText(qtype) + " by " + server; !slices.Contains(h.sources[addr], words) {
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
	replies, errs := make([]*dnsclient.Reply, len(types)), make([]error, len(types))
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
		for _, addr := range r.Addresses(name) {
			h.resolved = append(h.resolved, addr)
			h.source(addr, types[j], "resolver")
		}
	}
	return h
}

// findAuthoritative asks the servers of the name's zone, and of those that CNAMEs lead into. If they
// cannot be asked, nothing is known.
func (i *inspection) findAuthoritative(ctx context.Context, name string, h *hostEvidence) {
	for range maxChain {
		zone, err := i.dns.Zone(ctx, name)
		if err != nil {
			return
		}
		find := i.dns.FewNameservers
		if i.failed {
			find = i.dns.Nameservers // each may be the one that failed the CA
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
func (i *inspection) askAddresses(ctx context.Context, servers []dnsclient.Nameserver, name string, h *hostEvidence) (alias string) {
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
				if h.authority == "" || server.Text() < h.authority {
					h.authority = server.Text()
				}
				if target := r.Follow(name); !dnsclient.SameName(target, name) {
					alias = target
				}
				for _, addr := range r.Addresses(name) {
					h.source(addr, qtype, server.Text())
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
	at, known := slices.BinarySearchFunc(h.faulty, s.Text(), func(other faultyServer, text string) int {
		return strings.Compare(other.Text(), text)
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
	if err := reach.Check(addr, i.private); err != nil {
		return visit{outcome: connectOutcome(err), err: err}
	}
	connect := (&connector{dns: i.dns, dial: i.from.Dial, private: i.private, known: i.domain, at: addr}).connect
	if i.proof.Type == acme.TypeHTTP01 {
		return visitHTTP(ctx, i.proof, connect)
	}
	v := visitTLS(ctx, i.proof, connect)
	switch v.outcome {
	case outcomeWrong, outcomeNoALPN, outcomeBroken:
		v.addFrontend(ctx, i.proof, connect)
	}
	return v
}
