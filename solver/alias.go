package solver

import (
	"context"
	"sync"

	"golang.org/x/net/dns/dnsmessage"
)

// current returns the part of a chain of CNAMEs that is there now. A resolver goes on telling what it has
// cached: for a name that has just been made beside a wildcard CNAME, that there is the wildcard's. So the
// name's own servers are asked; the chain ends where one of them says that there is no CNAME.
func (d *DNS) current(ctx context.Context, chain []string) []string {
	for i := range len(chain) - 1 {
		if d.isGone(ctx, chain[i]) {
			return chain[:i+1]
		}
	}
	return chain
}

// isGone reports whether a server of the name's zone says that the name has no CNAME.
func (d *DNS) isGone(ctx context.Context, name string) bool {
	zone, err := d.zone(ctx, name)
	if err != nil {
		return false
	}
	return d.anyServerSays(ctx, zone, query{name: name, qtype: dnsmessage.TypeCNAME}, func(r *reply) bool {
		return r.Authoritative && r.RCode == dnsmessage.RCodeSuccess && r.alias(name) == ""
	})
}

// anyServerSays asks some servers of a zone side by side, and reports whether one gives an answer of the kind.
func (d *DNS) anyServerSays(ctx context.Context, zone string, q query, is func(*reply) bool) bool {
	servers, err := d.fewNameservers(ctx, zone)
	if err != nil {
		return false
	}
	ctx, cancel := context.WithCancel(ctx)
	var asking sync.WaitGroup
	said := make(chan bool, len(servers))
	for _, server := range servers {
		asking.Go(func() {
			if server.err != nil {
				said <- false
				return
			}
			r, err := d.exchange(ctx, server.addr.String(), q)
			said <- err == nil && is(r)
		})
	}
	defer asking.Wait()
	defer cancel() // before waiting: one answer is enough
	for range servers {
		if <-said {
			return true
		}
	}
	return false
}
