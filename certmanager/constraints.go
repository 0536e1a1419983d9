package certmanager

import (
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/everseal/everseal/acme"
)

// Constraints are the names that a CA may sign for (RFC 5280 §4.2.1.10). The zero value allows all.
type constraints struct {
	permitted, excluded []string // in one form
}

// newConstraints returns the constraints that the lists of domains and ranges of addresses say.
func newConstraints(permitted, excluded []string) (c constraints, err error) {
	if c.permitted, err = normalRanges(permitted); err != nil {
		return c, fmt.Errorf("certmanager: LocalCA.Permitted: %w", err)
	}
	if c.excluded, err = normalRanges(excluded); err != nil {
		return c, fmt.Errorf("certmanager: LocalCA.Excluded: %w", err)
	}
	return c, nil
}

// normalRanges returns domains and ranges of addresses in one form, sorted and each once.
func normalRanges(given []string) ([]string, error) {
	var normal []string
	for _, text := range given {
		if network, err := netip.ParsePrefix(text); err == nil {
			normal = append(normal, network.Masked().String())
			continue
		}
		id, err := acme.ParseIdentifier(strings.TrimPrefix(text, "."))
		switch {
		case err != nil:
			return nil, fmt.Errorf("%w (it is a domain, such as \"internal\", or a range of IP addresses, such as \"10.0.0.0/8\")", err)
		case id.Type == acme.TypeIP:
			addr := netip.MustParseAddr(id.Value)
			normal = append(normal, netip.PrefixFrom(addr, addr.BitLen()).String())
		case strings.HasPrefix(id.Value, "*."):
			return nil, fmt.Errorf("%s is a wildcard: a domain alone stands for all below it, too", id.Value)
		default:
			normal = append(normal, id.Value)
		}
	}
	slices.Sort(normal)
	return slices.Compact(normal), nil
}

// check returns why some of the names may not be signed for.
func (c constraints) check(identifiers []acme.Identifier) error {
	for _, id := range identifiers {
		within := func(constraint string) bool { return isWithin(id, constraint) }
		if len(c.permitted) > 0 && !slices.ContainsFunc(c.permitted, within) {
			return fmt.Errorf("%s is not among what it is permitted to sign for: %s", id.Value, strings.Join(c.permitted, ", "))
		}
		covers := func(constraint string) bool { return within(constraint) || matchesBelow(id, constraint) }
		if i := slices.IndexFunc(c.excluded, covers); i >= 0 {
			return fmt.Errorf("%s is not to be signed for: %s is excluded", id.Value, c.excluded[i])
		}
	}
	return nil
}

// isWithin reports whether the identifier is of the domain or range of addresses.
func isWithin(id acme.Identifier, constraint string) bool {
	network, err := netip.ParsePrefix(constraint)
	if id.Type == acme.TypeIP {
		addr, addrErr := netip.ParseAddr(id.Value)
		return err == nil && addrErr == nil && network.Contains(addr)
	}
	base := strings.TrimPrefix(id.Value, "*.")
	return err != nil && (base == constraint || strings.HasSuffix(base, "."+constraint))
}

// matchesBelow reports whether the identifier is a wildcard that matches the domain.
func matchesBelow(id acme.Identifier, domain string) bool {
	base, wildcard := strings.CutPrefix(id.Value, "*.")
	_, parent, _ := strings.Cut(domain, ".")
	return wildcard && parent == base
}

// apply writes the constraints into a CA's certificate. Of a type of name of which none is permitted, all are excluded: X.509
// has it otherwise, and clients are to believe the CA for nothing else than what stands there.
func (c constraints) apply(template *x509.Certificate) {
	template.PermittedDNSDomains, template.PermittedIPRanges = split(c.permitted)
	template.ExcludedDNSDomains, template.ExcludedIPRanges = split(c.excluded)
	template.PermittedDNSDomainsCritical = len(c.permitted)+len(c.excluded) > 0
	if len(c.permitted) > 0 && len(template.PermittedDNSDomains) == 0 {
		template.ExcludedDNSDomains = []string{""}
	}
	for _, all := range []*net.IPNet{{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}, {IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}} {
		sameLength := func(n *net.IPNet) bool { return len(n.IP) == len(all.IP) }
		if len(c.permitted) > 0 && !slices.ContainsFunc(template.PermittedIPRanges, sameLength) {
			template.ExcludedIPRanges = append(template.ExcludedIPRanges, all)
		}
	}
}

// split returns the domains and the ranges of addresses among them.
func split(all []string) (domains []string, ranges []*net.IPNet) {
	for _, text := range all {
		if network, err := netip.ParsePrefix(text); err == nil {
			addr := network.Addr()
			ranges = append(ranges, &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(network.Bits(), addr.BitLen())})
			continue
		}
		domains = append(domains, text)
	}
	return domains, ranges
}
