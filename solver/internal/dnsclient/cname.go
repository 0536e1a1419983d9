package dnsclient

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/net/dns/dnsmessage"
)

// maxAliases bounds the CNAMEs that are followed; resolvers give up at about as many.
const maxAliases = 10

// CNAMEChain returns the chain of CNAMEs from name on: name itself, and last the name where records live.
func (c *Client) CNAMEChain(ctx context.Context, name string) ([]string, error) {
	chain := []string{BareName(name)}
	for len(chain) <= maxAliases+1 {
		last := chain[len(chain)-1]
		r, err := c.Resolve(ctx, last, dnsmessage.TypeCNAME)
		if err != nil {
			return nil, err
		}
		next := r.Alias(last)
		if next == "" {
			return chain, nil
		}
		if slices.Contains(chain, next) {
			return nil, fmt.Errorf("the CNAMEs of %.260q lead in a circle, back to %.260q", chain[0], next)
		}
		chain = append(chain, next)
	}
	return nil, fmt.Errorf("more than %d CNAMEs follow one another from %.260q, which CAs do not follow", maxAliases, chain[0])
}

// CurrentChain returns the part of a chain of CNAMEs that is there now. A resolver goes on telling what it has
// cached: for a name that has just been made beside a wildcard CNAME, that there is the wildcard's. So the
// name's own servers are asked; the chain ends where one of them says that there is no CNAME.
func (c *Client) CurrentChain(ctx context.Context, chain []string) []string {
	for i := range len(chain) - 1 {
		if c.HasNoCNAME(ctx, chain[i]) {
			return chain[:i+1]
		}
	}
	return chain
}

// HasNoCNAME reports whether a server of the name's zone says that the name has no CNAME.
func (c *Client) HasNoCNAME(ctx context.Context, name string) bool {
	zone, err := c.Zone(ctx, name)
	if err != nil {
		return false
	}
	return c.anyServerSays(ctx, zone, Query{Name: name, Type: dnsmessage.TypeCNAME}, func(r *Reply) bool {
		return r.Authoritative && r.RCode == dnsmessage.RCodeSuccess && r.Alias(name) == ""
	})
}

// anyServerSays asks some servers of a zone side by side, and reports whether one gives an answer of the kind.
func (c *Client) anyServerSays(ctx context.Context, zone string, q Query, is func(*Reply) bool) bool {
	servers, err := c.FewNameservers(ctx, zone)
	if err != nil {
		return false
	}
	ctx, cancel := context.WithCancel(ctx)
	var asking sync.WaitGroup
	said := make(chan bool, len(servers))
	for _, server := range servers {
		asking.Go(func() {
			if server.Err != nil {
				said <- false
				return
			}
			r, err := c.Exchange(ctx, server.Addr.String(), q)
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
