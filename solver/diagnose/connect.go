package diagnose

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"github.com/everseal/everseal/solver/internal/dnsclient"
	"github.com/everseal/everseal/solver/internal/reach"
)

// A connectFunc opens the connection for a hop, to a host, which may be an address, and a port. It returns
// the address it opened it to. from is the address that redirected there, invalid with the first hop.
type connectFunc func(ctx context.Context, host, port string, from netip.Addr) (net.Conn, netip.AddrPort, error)

// connectByName returns a connectFunc that leaves it to dial to find the address of a name, and to decide whether it may
// be asked. Without a dial, what is not to be asked is kept out before the connection is opened.
func connectByName(dial reach.DialFunc, private reach.PrivateFunc) connectFunc {
	return func(ctx context.Context, host, port string, from netip.Addr) (net.Conn, netip.AddrPort, error) {
		check := func(to netip.Addr) error { return checkTarget(from, to, private) }
		open := dial
		if open == nil {
			open = (&net.Dialer{Control: func(_, address string, _ syscall.RawConn) error {
				to, err := netip.ParseAddrPort(address)
				if err != nil {
					return err
				}
				return check(to.Addr())
			}}).DialContext
		} else if to, err := netip.ParseAddr(host); err == nil {
			if err := check(to); err != nil {
				return nil, netip.AddrPort{}, err
			}
		}
		conn, err := open(ctx, "tcp", net.JoinHostPort(host, port))
		if err != nil {
			return nil, netip.AddrPort{}, err
		}
		addr, _ := netip.ParseAddrPort(conn.RemoteAddr().String()) // invalid if dial's connections are of another kind
		return conn, addr, nil
	}
}

// checkTarget returns an error unless an address may be asked. from is the address that redirected there, invalid with
// the first hop.
func checkTarget(from, to netip.Addr, private reach.PrivateFunc) error {
	if !from.IsValid() {
		return reach.Check(to, private)
	}
	return checkRedirectAddress(from, to, private)
}

// checkRedirectAddress returns an error unless a redirect from one address may lead to another: to the Internet,
// and for a CA on a private network also into that, or to the same scope. From the Internet it never leads to
// this machine or its segment, which whoever answers for a name could have asked so.
func checkRedirectAddress(from, to netip.Addr, private reach.PrivateFunc) error {
	target := reach.ScopeOf(to)
	if target == reach.Public {
		return nil
	}
	if !reach.IsGroup(to) && (target >= reach.ScopeOf(from) || target == reach.Private) {
		if inside, err := private(); inside || err != nil {
			return err
		}
	}
	return &notFollowedError{fmt.Sprintf("a redirect to %v, %s, from %s, which is not followed", to, target.String(), reach.ScopeOf(from).String())}
}

// An unresolvedError says that a host has no address.
type unresolvedError struct{ err error }

func (e *unresolvedError) Error() string { return e.err.Error() }

func (e *unresolvedError) Unwrap() error { return e.err }

// A connector opens connections to hosts that it looks up in the DNS.
type connector struct {
	dns     *dnsclient.Client
	dial    reach.DialFunc
	private reach.PrivateFunc

	known string     // a host that is known to be at an address; may be empty
	at    netip.Addr // that address
}

// connect is a connectFunc.
func (c *connector) connect(ctx context.Context, host, port string, from netip.Addr) (net.Conn, netip.AddrPort, error) {
	candidates := []netip.Addr{c.at}
	if c.known == "" || !strings.EqualFold(host, c.known) {
		var err error
		if candidates, err = c.addresses(ctx, host, from); err != nil {
			return nil, netip.AddrPort{}, err
		}
	}
	number := map[string]uint16{"80": 80, "443": 443}[port] // checkRedirect lets no others pass
	var failure error
	for _, candidate := range candidates {
		target := netip.AddrPortFrom(candidate, number)
		conn, err := reach.Dialer(c.dial)(ctx, "tcp", target.String())
		if err == nil {
			return conn, target, nil
		}
		if failure == nil || reach.IsUnroutable(failure) {
			failure = err
		}
	}
	return nil, netip.AddrPort{}, failure
}

// addresses returns where a host is to be asked: at one address of each family, as CAs do, IPv6 first. from is the
// address that redirected there, if one did.
func (c *connector) addresses(ctx context.Context, host string, from netip.Addr) ([]netip.Addr, error) {
	addr, err := netip.ParseAddr(host)
	addrs := []netip.Addr{addr}
	if err != nil {
		if addrs, err = c.dns.Addresses(ctx, host); err != nil {
			return nil, &unresolvedError{err}
		}
	}
	for _, addr := range addrs {
		if err := checkTarget(from, addr, c.private); err != nil {
			return nil, err
		}
	}
	other := func(addr netip.Addr) bool { return addr.Is4() != addrs[0].Is4() }
	if second := slices.IndexFunc(addrs, other); second >= 0 {
		return []netip.Addr{addrs[0], addrs[second]}, nil
	}
	return addrs[:1], nil
}
