package challenge

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/everseal/everseal/acme"
)

// The zones of reverse names, by which RFC 8738 §6 has servers asked for IP addresses.
const (
	ipv4Zone = ".in-addr.arpa"
	ipv6Zone = ".ip6.arpa"
)

// ParseServerName returns the identifier that a CA means by a TLS server name (RFC 8737 §3, RFC 8738
// §6), or false if no CA asks so. What it returns has exactly one server name, letter case apart.
func ParseServerName(name string) (acme.Identifier, bool) {
	if len(name) > 253 || strings.ContainsFunc(name, func(r rune) bool { return r >= utf8.RuneSelf }) {
		return acme.Identifier{}, false
	}
	name = strings.ToLower(name)
	if strings.HasSuffix(name, ipv4Zone) || strings.HasSuffix(name, ipv6Zone) {
		addr, ok := parseReverseName(name)
		if !ok {
			return acme.Identifier{}, false
		}
		return acme.Identifier{Type: acme.TypeIP, Value: addr.String()}, true
	}
	id, err := acme.ParseIdentifier(name)
	if err != nil || id.Type != acme.TypeDNS || id.Value != name || IsWildcard(id) {
		return acme.Identifier{}, false
	}
	return id, true
}

// ServerName is the inverse of parseServerName.
func ServerName(id acme.Identifier) string {
	addr, err := netip.ParseAddr(id.Value)
	if id.Type != acme.TypeIP || err != nil {
		return id.Value
	}
	return reverseName(addr)
}

// reverseName returns the name of addr in the reverse tree of the DNS (RFC 1035 §3.5, RFC 3596 §2.5),
// without a final dot.
func reverseName(addr netip.Addr) string {
	if addr.Is4() {
		labels := strings.Split(addr.String(), ".")
		slices.Reverse(labels)
		return strings.Join(labels, ".") + ipv4Zone
	}
	bytes := addr.As16()
	labels := strings.Split(hex.EncodeToString(bytes[:]), "")
	slices.Reverse(labels)
	return strings.Join(labels, ".") + ipv6Zone
}

// parseReverseName is the inverse of reverseName. IPv4 addresses mapped into IPv6 are refused: they
// have a shorter name.
func parseReverseName(name string) (netip.Addr, bool) {
	var addr netip.Addr
	if labels, ok := strings.CutSuffix(name, ipv4Zone); ok {
		reversed := strings.Split(labels, ".")
		slices.Reverse(reversed)
		addr, _ = netip.ParseAddr(strings.Join(reversed, "."))
	} else if labels, ok := strings.CutSuffix(name, ipv6Zone); ok {
		reversed := strings.Split(labels, ".")
		slices.Reverse(reversed)
		bytes, _ := hex.DecodeString(strings.Join(reversed, ""))
		addr, _ = netip.AddrFromSlice(bytes)
	}
	return addr, addr.IsValid() && !addr.Is4In6() && reverseName(addr) == name
}
