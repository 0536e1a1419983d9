package dnsclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/everseal/everseal/solver/internal/escape"
)

// Resolvers returns the addresses of the resolvers, at least one.
func (c *Client) Resolvers(ctx context.Context) ([]string, error) {
	if len(c.settings.Resolvers) == 0 {
		return systemResolvers(ctx)
	}
	addresses := make([]string, len(c.settings.Resolvers))
	for i, resolver := range c.settings.Resolvers {
		address, err := serverAddress(resolver)
		if err != nil {
			return nil, err
		}
		addresses[i] = address
	}
	return addresses, nil
}

// systemResolvers returns the addresses of the resolvers that this machine is configured with. Package net
// knows them on every system, and names them to whoever dials for it.
func systemResolvers(ctx context.Context) ([]string, error) {
	var addresses []string
	known := make(map[string]bool)
	errListed := errors.New("its address is noted, nothing is sent")
	lister := net.Resolver{PreferGo: true, Dial: func(_ context.Context, _, address string) (net.Conn, error) {
		if !known[address] {
			known[address] = true
			addresses = append(addresses, address)
		}
		return nil, errListed
	}}
	_, err := lister.LookupTXT(ctx, "resolvers.invalid.")
	if len(addresses) == 0 {
		return nil, fmt.Errorf("this system names no DNS resolver, set DNS.Resolvers: %w", err)
	}
	return addresses, nil
}

// serverAddress returns the host and port to dial for a server; the port is 53 if it has none.
func serverAddress(server string) (string, error) {
	bare := server
	if strings.HasPrefix(server, "[") && strings.HasSuffix(server, "]") {
		bare = server[1 : len(server)-1]
	}
	if addr, err := netip.ParseAddr(bare); err == nil {
		return netip.AddrPortFrom(addr, 53).String(), nil
	}
	host, port := server, "53"
	if strings.Contains(server, ":") {
		var err error
		if host, port, err = net.SplitHostPort(server); err != nil {
			return "", fmt.Errorf("%.100q is no address of a DNS server: %w", server, escape.Error(err))
		}
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if host == "" || strings.ContainsAny(host, "/[] ") || err != nil || number == 0 {
		return "", fmt.Errorf("%.100q is no address of a DNS server: use forms such as %q and %q",
			server, "192.0.2.1", "[2001:db8::1]:53")
	}
	return net.JoinHostPort(host, port), nil
}

// resolverInterval is how long one resolver is waited for before the next is asked too.
const resolverInterval = time.Second

// Resolve asks the resolvers for the records of one type at a name. That there are none (NXDOMAIN, or
// NOERROR without answers) is a reply; CNAMEs on the way stand in the answers. If all resolvers fail, the
// error says how each did, and wraps an rcodeError for each that answered.
func (c *Client) Resolve(ctx context.Context, name string, qtype dnsmessage.Type) (*Reply, error) {
	q := Query{Name: BareName(name), Type: qtype, Recurse: true}
	if known := c.call.answer(q); known != nil {
		return known, nil
	}
	r, err := c.ask(ctx, q)
	if err == nil {
		c.call.remember(q, r)
	}
	return r, err
}

// ResolveUnchecked is resolve that also has answers whose DNSSEC signatures are wrong. They are not remembered.
func (c *Client) ResolveUnchecked(ctx context.Context, name string, qtype dnsmessage.Type) (*Reply, error) {
	return c.ask(ctx, Query{Name: name, Type: qtype, Recurse: true, checkingDisabled: true})
}

// ask asks the resolvers one after another. One that is silent does not hold up the next.
func (c *Client) ask(ctx context.Context, q Query) (*Reply, error) {
	servers, err := c.Resolvers(ctx)
	if err != nil {
		return nil, err
	}
	var asking sync.WaitGroup
	defer asking.Wait()
	asked, cancel := context.WithCancel(ctx)
	defer cancel()
	type outcome struct {
		reply *Reply
		err   error
	}
	outcomes := make(chan outcome, len(servers))
	waiting := servers
	askNext := func() {
		if len(waiting) == 0 {
			return
		}
		server := waiting[0]
		waiting = waiting[1:]
		asking.Go(func() {
			r, err := c.answer(asked, server, q)
			outcomes <- outcome{r, err}
		})
	}
	patience := time.NewTicker(resolverInterval)
	defer patience.Stop()
	var failed escape.Errors
	for askNext(); len(failed) < len(servers); askNext() {
		select {
		case <-patience.C:
		case o := <-outcomes:
			if o.err == nil {
				return o.reply, nil
			}
			failed = append(failed, o.err)
		}
	}
	return nil, fmt.Errorf("no resolver has an answer for %s %.260q: %w", TypeText(q.Type), q.Name, failed)
}

// answer is exchange with a resolver: codes that say it has no answer are errors, each a *refusal.
func (c *Client) answer(ctx context.Context, server string, q Query) (*Reply, error) {
	r, err := c.Exchange(ctx, server, q)
	if err == nil && r.RCode != dnsmessage.RCodeSuccess && r.RCode != dnsmessage.RCodeNameError {
		return nil, &Refusal{server, r}
	}
	return r, err
}
