package solver

import (
	"fmt"
	"net/netip"
)

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
	case addr.IsLinkLocalUnicast(), addr.IsMulticast(), addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return scopeLink
	case addr.IsPrivate(), addr.Is4() && addr.As4()[0] == 100 && addr.As4()[1]>>6 == 1: // RFC 6598, behind a carrier's NAT
		return scopePrivate
	}
	return scopePublic
}

// embedded returns the IPv4 address that a translator makes of an IPv6 one (RFC 6052 §2.1), or addr.
func embedded(addr netip.Addr) netip.Addr {
	b := addr.As16()
	if !addr.Is6() || [12]byte(b[:12]) != [12]byte{1: 0x64, 2: 0xff, 3: 0x9b} {
		return addr
	}
	return netip.AddrFrom4([4]byte(b[12:]))
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

// checkRedirectAddress returns an error unless a redirect from one address may lead to another. To the
// same or a wider scope it may: a name inside a private network is asked about from inside. From the
// Internet it may lead into a private network only for a CA that is there itself, and never to this
// machine or its segment, which whoever answers for a name could have asked so.
func checkRedirectAddress(from, to netip.Addr, private bool) error {
	target := scopeOf(to)
	if target >= scopeOf(from) || private && target == scopePrivate {
		return nil
	}
	return fmt.Errorf("a redirect to %v, %s, from %s, which is not followed", to, target.words(), scopeOf(from).words())
}
