package solver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// translators is for those of one network, to any address (RFC 8215).
const translators = "64:ff9b:1::/48"

// A scope is from where an IP address can be reached, from narrow to wide.
type scope int

const (
	scopeHost    scope = iota // this machine
	scopeLink                 // its network segment, where clouds keep their metadata services
	scopePrivate              // a private network
	scopePublic
)

// scopeOf returns the scope of an address.
func scopeOf(addr netip.Addr) scope {
	addr = embedded(addr.WithZone("").Unmap())
	switch {
	case addr.IsLoopback(), addr.IsUnspecified(), addr.Is4() && addr.As4()[0] == 0:
		return scopeHost
	case addr.IsLinkLocalUnicast(), addr.IsMulticast(), within(addr,
		"255.255.255.255/32",
		"192.0.0.0/24",      // RFC 6890 §2.1; some clouds have their metadata service there
		"168.63.129.16/32"): // that of Azure, which no other network leads to
		return scopeLink
	case addr.IsPrivate(), within(addr,
		"100.64.0.0/10", // RFC 6598, behind a carrier's NAT
		"198.18.0.0/15", // RFC 2544, for tests of networks
		"240.0.0.0/4",   // RFC 1112 §4, reserved
		"fec0::/10",     // RFC 3879, site-local once
		translators):
		return scopePrivate
	}
	return scopePublic
}

// within reports whether the address is in one of the networks.
func within(addr netip.Addr, networks ...string) bool {
	return slices.ContainsFunc(networks, func(network string) bool { return netip.MustParsePrefix(network).Contains(addr) })
}

// embedded returns the IPv4 address that an IPv6 one is sent to: by a translator (RFC 6052 §2.1, RFC 2765 §2.1), by
// 6to4 (RFC 3056 §2) or Teredo (RFC 4380 §4), or as one of the old form ::192.0.2.1 (RFC 4291 §2.5.5.1). Others are
// returned as they are.
func embedded(addr netip.Addr) netip.Addr {
	b := addr.As16()
	switch {
	case within(addr, "64:ff9b::/96", "::ffff:0:0:0/96"), within(addr, "::/96") && !within(addr, "::/127"):
		return netip.AddrFrom4([4]byte(b[12:]))
	case within(addr, "2002::/16"):
		return netip.AddrFrom4([4]byte(b[2:6]))
	case within(addr, "2001::/32"): // with all bits inverted
		return netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]})
	}
	return addr
}

// words is the scope as it stands in sentences.
func (s scope) words() string {
	switch s {
	case scopeHost:
		return "a loopback address"
	case scopeLink:
		return "a link-local address"
	case scopePrivate:
		return "a private address"
	}
	return "a public address"
}

// checkRedirectAddress returns an error unless a redirect from one address may lead to another: to the Internet,
// and for a CA on a private network also into that, or to the same scope. From the Internet it never leads to
// this machine or its segment, which whoever answers for a name could have asked so.
func checkRedirectAddress(from, to netip.Addr, private privateFunc) error {
	target := scopeOf(to)
	if target == scopePublic {
		return nil
	}
	if !isGroup(to) && (target >= scopeOf(from) || target == scopePrivate) {
		if inside, err := private(); inside || err != nil {
			return err
		}
	}
	return &notFollowedError{fmt.Sprintf("a redirect to %v, %s, from %s, which is not followed", to, target.words(), scopeOf(from).words())}
}

// ErrPrivateAddress reports that an address was not asked, as no CA on the Internet reaches it: a private, link-local or
// loopback one. [Vantage] and [DNS] say by Private that the CA is on a private network itself.
var ErrPrivateAddress = errors.New("solver: the address is not one that a CA on the Internet reaches")

// A scopeError is ErrPrivateAddress for an address.
type scopeError struct{ addr netip.Addr }

func (e *scopeError) Error() string {
	return fmt.Sprintf("%v is %s, which no CA on the Internet reaches", e.addr, scopeOf(e.addr).words())
}

func (e *scopeError) Unwrap() error { return ErrPrivateAddress }

// A privateFunc reports whether the CA is on a private network. The error is an *unplacedError.
type privateFunc func() (bool, error)

// An unplacedError says why it is not known whether the CA is on a private network.
type unplacedError struct{ err error }

func (e *unplacedError) Error() string {
	return fmt.Sprintf("whether the CA is on a private network too is not known: %v", inner{e.err})
}

func (e *unplacedError) Unwrap() error { return e.err }

// checkAddress returns an error unless an address that the DNS, or a server, has named may be asked: any for a
// CA that is on a private network, else those of the Internet. It is a *scopeError unless the CA's place is not
// known. private is called if it matters.
func checkAddress(addr netip.Addr, private privateFunc) error {
	switch {
	case scopeOf(addr) == scopePublic:
		return nil
	case isGroup(addr):
		return &scopeError{addr}
	}
	inside, err := private()
	if err != nil {
		return fmt.Errorf("%v is %s: %w", addr, scopeOf(addr).words(), err)
	}
	if !inside {
		return &scopeError{addr}
	}
	return nil
}

// isGroup reports whether an address is of more than one host, so that it names no server at all.
func isGroup(addr netip.Addr) bool {
	addr = embedded(addr.WithZone("").Unmap())
	return addr.IsMulticast() || within(addr, "255.255.255.255/32")
}

// directoryTimeout is for looking up where a CA is.
const directoryTimeout = 3 * time.Second

// isPrivateCA reports whether the URL of a CA's directory leads to a private network, or to this machine. Of a CA that
// has no address nothing is assumed. The error is an *unplacedError.
func (d *DNS) isPrivateCA(ctx context.Context, directory string) (bool, error) {
	u, err := url.Parse(directory)
	if err != nil || u.Hostname() == "" {
		return false, nil
	}
	host := bareName(u.Hostname())
	if host == "localhost" || strings.HasSuffix(host, ".localhost") { // RFC 6761 §6.3
		return true, nil
	}
	addr, err := netip.ParseAddr(host)
	addrs := []netip.Addr{addr}
	if err != nil {
		if addrs, err = d.directoryAddresses(ctx, host); err != nil {
			if cause, ok := errors.AsType[*net.DNSError](err); ok && cause.IsNotFound {
				return false, nil
			}
			return false, &unplacedError{err}
		}
	}
	return slices.ContainsFunc(addrs, func(addr netip.Addr) bool {
		return scopeOf(addr) < scopePublic && !within(addr, translators) // which lead to any CA
	}), nil
}

// directoryAddresses looks up where a CA's directory is: as whoever calls the CA does, who knows also names that are this
// machine's or short, unless Dial leads elsewhere; else in the DNS.
func (d *DNS) directoryAddresses(ctx context.Context, host string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, directoryTimeout)
	defer cancel()
	if d.Dial == nil {
		if addrs, err := new(net.Resolver).LookupNetIP(ctx, "ip", host); err == nil {
			return addrs, nil
		}
	}
	return d.addresses(ctx, host)
}
