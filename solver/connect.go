package solver

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver/internal/dnsclient"
	"github.com/everseal/everseal/solver/internal/reach"
)

// A connectFunc opens the connection for a hop, to a host, which may be an address, and a port. It returns
// the address it opened it to. from is the address that redirected there, invalid with the first hop.
type connectFunc func(ctx context.Context, host, port string, from netip.Addr) (net.Conn, netip.AddrPort, error)

// connectByName returns a connectFunc that leaves it to dial to find the address, and to decide whether it may be
// asked. Without a dial, what is not to be asked is kept out before the connection is opened.
func connectByName(dial reach.DialFunc, private reach.PrivateFunc) connectFunc {
	return func(ctx context.Context, host, port string, from netip.Addr) (net.Conn, netip.AddrPort, error) {
		check := func(to netip.Addr) error {
			if !from.IsValid() {
				return reach.Check(to, private)
			}
			return checkRedirectAddress(from, to, private)
		}
		open := dial
		if open == nil {
			open = (&net.Dialer{Control: func(_, address string, _ syscall.RawConn) error {
				to, err := netip.ParseAddrPort(address)
				if err != nil {
					return err
				}
				return check(to.Addr())
			}}).DialContext
		} else if to, err := netip.ParseAddr(host); err == nil && from.IsValid() {
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

// privateCA returns what reports whether the CA of a proof is on a private network, as the system's resolvers have it.
func privateCA(ctx context.Context, p acme.Proof) reach.PrivateFunc {
	return dnsclient.New(ctx, nil, p.DirectoryURL).Privately(false)
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
			conn, err := reach.Dialer(i.from.Dial)(ctx, "tcp", target.String())
			if err == nil {
				return conn, target, nil
			}
			if failure == nil || reach.IsUnroutable(failure) {
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
		if addrs, err = i.dns.Addresses(ctx, host); err != nil {
			return nil, &unresolvedError{err}
		}
	}
	for _, addr := range addrs {
		if err := checkRedirectAddress(from, addr, i.private); err != nil {
			return nil, err
		}
	}
	other := func(addr netip.Addr) bool { return addr.Is4() != addrs[0].Is4() }
	if second := slices.IndexFunc(addrs, other); second >= 0 {
		return []netip.Addr{addrs[0], addrs[second]}, nil
	}
	return addrs[:1], nil
}
