package solver

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sync/errgroup"
)

const (
	maxAliases     = 10 // CNAMEs that are followed; resolvers give up at about as many
	maxNameservers = 16 // of a zone, by name; the root has 13
	maxAddresses   = 8  // of one name server
	maxServers     = 24 // of a zone, by address

	// Of a zone on the way, such as one that a CNAME leads through, some servers are enough.
	someNameservers = 3
	someAddresses   = 2 // one of each family
)

// zone returns the name of the zone that a name is in, found by its SOA record if it is not known. A CNAME
// at the name does not mislead it: what the resolver then says is of the target's zone. If the question fails
// for a name, those above it are asked about: some resolvers fail for names that begin with an underscore.
func (d *DNS) zone(ctx context.Context, name string) (string, error) {
	bare := bareName(name)
	if d != nil && d.knownZone != "" && isWithin(bare, d.knownZone) {
		return d.knownZone, nil
	}
	if _, err := questionName(bare); err != nil {
		return "", err
	}
	var failure error
	for candidate := bare; candidate != "" && ctx.Err() == nil; _, candidate, _ = strings.Cut(candidate, ".") {
		r, err := d.resolve(ctx, candidate, dnsmessage.TypeSOA)
		if err != nil {
			failure = cmp.Or(failure, err)
			continue
		}
		zone := r.zoneOf(candidate)
		if zone == "" {
			continue
		}
		if failure != nil && d.isElsewhere(ctx, zone, bare) {
			break // a zone that is delegated and broken is told so: its parent is the wrong one
		}
		return zone, nil
	}
	if failure == nil {
		failure = context.Cause(ctx)
	}
	if failure == nil {
		failure = fmt.Errorf("solver: no zone in DNS holds %.260q: is its domain registered and delegated?", bare)
	}
	return "", failure
}

// zoneOf returns the zone that an answer for the SOA record of a name says it is in, or "". A name with a
// CNAME is no zone's.
func (r *reply) zoneOf(name string) string {
	if r.alias(name) != "" {
		return ""
	}
	for _, record := range slices.Concat(r.Answers, r.Authorities) {
		owner := bareName(record.Header.Name.String())
		if record.Header.Type == dnsmessage.TypeSOA && owner != "." && isWithin(name, owner) {
			return owner
		}
	}
	return ""
}

// isElsewhere reports whether a name below a zone is not in it: a server of the zone refers to others, or the
// zone is a registry's, as no certificate is for a name in one.
func (d *DNS) isElsewhere(ctx context.Context, zone, name string) bool {
	if !strings.Contains(zone, ".") {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, authorityTimeout)
	defer cancel()
	return d.anyServerSays(ctx, zone, query{name: name, qtype: dnsmessage.TypeSOA}, func(r *reply) bool {
		return !r.Authoritative && slices.ContainsFunc(r.Authorities, func(record dnsmessage.Resource) bool {
			owner := bareName(record.Header.Name.String())
			return record.Header.Type == dnsmessage.TypeNS && owner != zone && isWithin(owner, zone) && isWithin(name, owner)
		})
	})
}

// isWithin reports whether a name is a zone's own or below it. Both are bare.
func isWithin(name, zone string) bool {
	return name == zone || strings.HasSuffix(name, "."+zone)
}

// A nameserver is one address of an authoritative server.
type nameserver struct {
	name string
	addr netip.AddrPort // invalid if the name has no address
	err  error          // why it cannot be asked
}

// nameservers returns the servers that a zone's NS records name, each with all of its addresses; one that cannot or
// must not be asked is returned with the reason. Of a zone with more than 16 names, 8 addresses of one or 24 in
// all, some of each name are taken. It is an error if there is no NS record.
func (d *DNS) nameservers(ctx context.Context, zone string) ([]nameserver, error) {
	names, err := d.nameserverNames(ctx, zone)
	if err != nil {
		return nil, err
	}
	return d.locate(ctx, names[:min(len(names), maxNameservers)], maxAddresses), nil
}

// fewNameservers is nameservers for where some of them are enough.
func (d *DNS) fewNameservers(ctx context.Context, zone string) ([]nameserver, error) {
	names, err := d.nameserverNames(ctx, zone)
	if err != nil {
		return nil, err
	}
	return d.locate(ctx, names[:min(len(names), someNameservers)], someAddresses), nil
}

func (d *DNS) nameserverNames(ctx context.Context, zone string) ([]string, error) {
	r, err := d.resolve(ctx, zone, dnsmessage.TypeNS)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, record := range r.Answers {
		if ns, ok := record.Body.(*dnsmessage.NSResource); ok && sameName(record.Header.Name.String(), zone) {
			names = append(names, bareName(ns.NS.String()))
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("solver: %.260q has no NS records: the resolver says %s", bareName(zone), rcodeText(r.RCode))
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// locate looks up where the name servers are.
func (d *DNS) locate(ctx context.Context, names []string, addresses int) []nameserver {
	found := make([][]nameserver, len(names))
	var asking errgroup.Group
	asking.SetLimit(8)
	for i, name := range names {
		asking.Go(func() error {
			found[i] = d.nameserver(ctx, name)
			return nil
		})
	}
	asking.Wait()
	seen := make(map[netip.AddrPort]bool)
	total := 0
	for i := range found {
		found[i] = slices.DeleteFunc(found[i], func(s nameserver) bool {
			repeated := s.addr.IsValid() && seen[s.addr]
			seen[s.addr] = true
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
		if s := &servers[i]; s.err == nil {
			s.err = d.ongoing().admit(s.addr)
		}
	}
	return servers
}

// nameserver returns all addresses of a name server, of one family and the other by turns, IPv6 first.
func (d *DNS) nameserver(ctx context.Context, name string) []nameserver {
	addrs, err := d.addresses(ctx, name)
	if err != nil {
		return []nameserver{{name: name, err: err}}
	}
	var servers []nameserver
	for len(addrs) > 0 {
		next := 0
		if len(servers) > 0 {
			other := func(addr netip.Addr) bool { return addr.Is4() != servers[len(servers)-1].addr.Addr().Is4() }
			next = max(slices.IndexFunc(addrs, other), 0)
		}
		servers = append(servers, nameserver{name: name, addr: netip.AddrPortFrom(addrs[next], 53)})
		addrs = slices.Delete(addrs, next, next+1)
	}
	return servers
}

// canonical returns the chain of CNAMEs from name on: name itself, and last the name where records live.
func (d *DNS) canonical(ctx context.Context, name string) ([]string, error) {
	chain := []string{bareName(name)}
	for len(chain) <= maxAliases+1 {
		last := chain[len(chain)-1]
		r, err := d.resolve(ctx, last, dnsmessage.TypeCNAME)
		if err != nil {
			return nil, err
		}
		next := r.alias(last)
		if next == "" {
			return chain, nil
		}
		if slices.Contains(chain, next) {
			return nil, fmt.Errorf("solver: the CNAMEs of %.260q lead in a circle, back to %.260q", chain[0], next)
		}
		chain = append(chain, next)
	}
	return nil, fmt.Errorf("solver: more than %d CNAMEs follow one another from %.260q, which CAs do not follow", maxAliases, chain[0])
}
