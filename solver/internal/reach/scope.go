// Package reach says what can be reached from where: which addresses a CA reaches, and whether this machine has a way
// to them.
package reach

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// translators is for those of one network, to any address (RFC 8215).
const translators = "64:ff9b:1::/48"

// A Scope is from where an IP address can be reached, from narrow to wide.
type Scope int

// The scopes.
const (
	Host    Scope = iota // this machine
	Link                 // its network segment, where clouds keep their metadata services
	Private              // a private network
	Public
)

// ScopeOf returns the scope of an address.
func ScopeOf(addr netip.Addr) Scope {
	addr = embedded(addr.WithZone("").Unmap())
	switch {
	case addr.IsLoopback(), addr.IsUnspecified(), addr.Is4() && addr.As4()[0] == 0:
		return Host
	case addr.IsLinkLocalUnicast(), addr.IsMulticast(), within(addr,
		"255.255.255.255/32",
		"192.0.0.0/24",      // RFC 6890 §2.1; some clouds have their metadata service there
		"168.63.129.16/32"): // that of Azure, which no other network leads to
		return Link
	case addr.IsPrivate(), within(addr,
		"100.64.0.0/10", // RFC 6598, behind a carrier's NAT
		"198.18.0.0/15", // RFC 2544, for tests of networks
		"240.0.0.0/4",   // RFC 1112 §4, reserved
		"fec0::/10",     // RFC 3879, site-local once
		translators):
		return Private
	}
	return Public
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

// String returns the scope as it stands in sentences.
func (s Scope) String() string {
	switch s {
	case Host:
		return "a loopback address"
	case Link:
		return "a link-local address"
	case Private:
		return "a private address"
	}
	return "a public address"
}

// ErrPrivate reports that an address was not asked, as no CA on the Internet reaches it: a private, link-local or
// loopback one.
var ErrPrivate = errors.New("the address is not one that a CA on the Internet reaches")

// A ScopeError is ErrPrivate for an address.
type ScopeError struct{ addr netip.Addr }

// Error says what the address is.
func (e *ScopeError) Error() string {
	return fmt.Sprintf("%v is %s, which no CA on the Internet reaches", e.addr, ScopeOf(e.addr))
}

// Unwrap returns ErrPrivate.
func (e *ScopeError) Unwrap() error { return ErrPrivate }

// A PrivateFunc reports whether the CA is on a private network. The error is an *UnlocatedError.
type PrivateFunc func() (bool, error)

// An UnlocatedError says why it is not known whether the CA is on a private network.
type UnlocatedError struct{ Err error }

// Error says that it is not known, and why.
func (e *UnlocatedError) Error() string {
	return fmt.Sprintf("whether the CA is on a private network too is not known: %v", e.Err)
}

// Unwrap returns Err.
func (e *UnlocatedError) Unwrap() error { return e.Err }

// Check returns an error unless an address that the DNS, or a server, has named may be asked: any for a
// CA that is on a private network, else those of the Internet. It is a *ScopeError unless the CA's place is not
// known. private is called if it matters.
func Check(addr netip.Addr, private PrivateFunc) error {
	switch {
	case ScopeOf(addr) == Public:
		return nil
	case IsGroup(addr):
		return &ScopeError{addr}
	}
	inside, err := private()
	if err != nil {
		return fmt.Errorf("%v is %s: %w", addr, ScopeOf(addr), err)
	}
	if !inside {
		return &ScopeError{addr}
	}
	return nil
}

// IsGroup reports whether an address is of more than one host, so that it names no server at all.
func IsGroup(addr netip.Addr) bool {
	addr = embedded(addr.WithZone("").Unmap())
	return addr.IsMulticast() || within(addr, "255.255.255.255/32")
}

// IsInside reports whether an address says that what is there is on a private network or on this machine. One of a
// network's translators leads anywhere.
func IsInside(addr netip.Addr) bool { return ScopeOf(addr) < Public && !within(addr, translators) }
