package solver

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
)

// DNS says how to ask the Domain Name System. The zero value, and a nil *DNS, ask as the system does.
// It is safe for concurrent use; its fields must not be changed after its first use.
type DNS struct {
	// Resolvers are the recursive resolvers, as IP addresses or host names, each with or without a port:
	// "192.0.2.1", "[2001:db8::1]:5353", "fe80::1%eth0". Where the first gives no answer, the others are
	// asked. Empty: those that the system is configured with.
	Resolvers []string

	// Dial opens the connections to resolvers and to authoritative servers. The network is "udp" or "tcp",
	// the address a host and a port. Nil: a [net.Dialer] does. A split-horizon set-up, or a test, leads
	// addresses elsewhere by it. It is called for an address that a zone has named only if Private lets it be
	// asked; where it leads from there is its own matter.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Private says that zones may have their name servers on private networks and on this machine, as they do
	// where the CA is on a private network itself: at such addresses they are asked also without it if the
	// CA's directory is at one. Otherwise only name servers on the Internet are asked. Resolvers may be anywhere.
	Private bool

	call      *call  // that it is asked in; nil outside of any
	knownZone string // the zone of all names in it; empty: zones are found by their SOA records
}

// inZone returns a DNS that takes all names in the zone to be its own, and asks for no SOA record of theirs.
// Empty: none is known.
func (d *DNS) inZone(zone string) *DNS {
	if zone == "" {
		return d
	}
	known := d.clone()
	known.knownZone = bareName(zone)
	return known
}

// clone returns a copy, never nil.
func (d *DNS) clone() *DNS {
	copied := new(DNS)
	if d != nil {
		*copied = *d
	}
	return copied
}

// ongoing returns the call that d is asked in; nil: none.
func (d *DNS) ongoing() *call {
	if d == nil {
		return nil
	}
	return d.call
}

func (d *DNS) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if d == nil {
		return dialer(nil)(ctx, network, address)
	}
	return dialer(d.Dial)(ctx, network, address)
}

// resolvers returns the addresses of the resolvers, at least one.
func (d *DNS) resolvers(ctx context.Context) ([]string, error) {
	if d == nil || len(d.Resolvers) == 0 {
		return systemResolvers(ctx)
	}
	addresses := make([]string, len(d.Resolvers))
	for i, resolver := range d.Resolvers {
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
		return nil, fmt.Errorf("solver: this system names no DNS resolver, set DNS.Resolvers: %w", err)
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
			return "", fmt.Errorf("solver: %.100q is no address of a DNS server: %w", server, peerError{err})
		}
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if host == "" || strings.ContainsAny(host, "/[] ") || err != nil || number == 0 {
		return "", fmt.Errorf("solver: %.100q is no address of a DNS server: use forms such as %q and %q",
			server, "192.0.2.1", "[2001:db8::1]:53")
	}
	return net.JoinHostPort(host, port), nil
}

// resolverPatience is how long one resolver is waited for before the next is asked too.
const resolverPatience = time.Second

// resolve asks the resolvers for the records of one type at a name. That there are none (NXDOMAIN, or
// NOERROR without answers) is a reply; CNAMEs on the way stand in the answers. If all resolvers fail, the
// error says how each did, and wraps an rcodeError for each that answered.
func (d *DNS) resolve(ctx context.Context, name string, qtype dnsmessage.Type) (*reply, error) {
	q := query{name: bareName(name), qtype: qtype, recurse: true}
	if known := d.ongoing().answer(q); known != nil {
		return known, nil
	}
	r, err := d.ask(ctx, q)
	if err == nil {
		d.ongoing().remember(q, r)
	}
	return r, err
}

// ask asks the resolvers one after another. One that is silent does not hold up the next.
func (d *DNS) ask(ctx context.Context, q query) (*reply, error) {
	servers, err := d.resolvers(ctx)
	if err != nil {
		return nil, err
	}
	var asking sync.WaitGroup
	defer asking.Wait()
	asked, cancel := context.WithCancel(ctx)
	defer cancel()
	type outcome struct {
		reply *reply
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
			r, err := d.answer(asked, server, q)
			outcomes <- outcome{r, err}
		})
	}
	patience := time.NewTicker(resolverPatience)
	defer patience.Stop()
	var failed failures
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
	return nil, fmt.Errorf("solver: no resolver has an answer for %s %.260q: %w", typeText(q.qtype), q.name, failed)
}

// answer is exchange with a resolver: codes that say it has no answer are errors, each a *refusal.
func (d *DNS) answer(ctx context.Context, server string, q query) (*reply, error) {
	r, err := d.exchange(ctx, server, q)
	if err == nil && r.RCode != dnsmessage.RCodeSuccess && r.RCode != dnsmessage.RCodeNameError {
		return nil, &refusal{server, r}
	}
	return r, err
}

// addresses returns the addresses of a host, IPv6 first, as CAs try them. If there are none, the error
// wraps a *net.DNSError with IsNotFound set; if only one of A and AAAA can be had, that one is enough.
func (d *DNS) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	types := [...]dnsmessage.Type{dnsmessage.TypeAAAA, dnsmessage.TypeA}
	var found [len(types)][]netip.Addr
	var errs [len(types)]error
	var asking sync.WaitGroup
	for i, qtype := range types {
		asking.Go(func() {
			r, err := d.resolve(ctx, host, qtype)
			if err != nil {
				errs[i] = err
				return
			}
			found[i] = addressValues(r, host)
		})
	}
	asking.Wait()
	if all := append(found[0], found[1]...); len(all) > 0 {
		return all, nil
	}
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("solver: %w", &net.DNSError{
		Err: "no address in DNS", Name: fmt.Sprintf("%.260q", bareName(host)), IsNotFound: true,
	})
}

// typeText returns the name of a record type in zone files.
func typeText(t dnsmessage.Type) string {
	if t == 257 { // RFC 8659 §4.1
		return "CAA"
	}
	if text, ok := strings.CutPrefix(t.String(), "Type"); ok {
		return text
	}
	return "TYPE" + strconv.Itoa(int(t)) // RFC 3597 §5
}
