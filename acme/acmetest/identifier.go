package acmetest

import (
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
)

const (
	typeDNS = "dns"
	typeIP  = "ip"
)

// An identifier is what a certificate is for (RFC 8555 §7.1.3, RFC 8738).
type identifier struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

// maxIdentifiers is the number of identifiers that an order may have, and maxLabels that of labels in a domain
// name, the asterisk of a wildcard not counted.
const (
	maxIdentifiers = 100
	maxLabels      = 10
)

// Refuse makes newOrder and newAuthz refuse name, which may be a wildcard or an IP address, with a
// problem of type rejectedIdentifier. It goes for exactly this name, not for names below it.
func (s *Server) Refuse(name string) {
	s.prepare()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused[strings.ToLower(name)] = true
}

// checkIdentifiers returns what an order asks for with names in lower case, or a problem with a
// subproblem for each identifier that cannot be had.
func (s *Server) checkIdentifiers(asked []askedIdentifier) ([]askedIdentifier, error) {
	if len(asked) == 0 || len(asked) > maxIdentifiers {
		return nil, problemf(malformed, "the order has %d identifiers; 1 to %d are possible", len(asked), maxIdentifiers)
	}
	var wrong []*problem
	var checked []askedIdentifier
	seen := make(map[identifier]bool)
	for _, one := range asked {
		one = s.lower(one)
		one.SubdomainAuthAllowed = false // a word of newAuthz
		id := one.identifier
		p := checkIdentifier(id)
		if p == nil {
			p = s.checkAncestor(one)
		}
		if p == nil {
			p = s.checkWanted(id, s.needed(nil, one))
		}
		if p == nil && seen[id] {
			p = problemf(malformed, "%s is in the order twice", quote(id.Value))
		}
		if p != nil {
			wrong = append(wrong, p.about(id))
		}
		seen[id] = true
		checked = append(checked, one)
	}
	for _, one := range checked {
		id := one.identifier
		if _, parent, ok := strings.Cut(id.Value, "."); ok && id.Type == typeDNS && seen[identifier{typeDNS, "*." + parent}] && !strings.HasPrefix(id.Value, "*.") {
			wrong = append(wrong, problemf(malformed, "%s is covered by the wildcard in the same order", quote(id.Value)).about(id))
		}
	}
	if len(wrong) > 0 {
		return nil, join(wrong, 400, "some of the identifiers cannot be had: "+wrong[0].Detail)
	}
	return checked, nil
}

// checkWanted returns why the CA does not want to issue certificates for the identifier, or cannot have
// proved what is to be held for it, nil if it does and can.
func (s *Server) checkWanted(id identifier, held holding) *problem {
	if s.isRefused(id.Value) {
		return problemf(rejectedIdentifier, "this CA issues no certificates for %s", quote(id.Value))
	}
	if len(s.offered(held)) == 0 {
		return problemf(rejectedIdentifier, "this CA offers no challenge by which %s could be proved", quote(id.Value))
	}
	return nil
}

func (s *Server) isRefused(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused[name]
}

// checkIdentifier returns what is wrong with id, nil if nothing is.
func checkIdentifier(id identifier) *problem {
	switch id.Type {
	case typeDNS:
		return checkDomain(id.Value)
	case typeIP:
		return checkAddress(id.Value)
	}
	return problemf(unsupportedIdentifier, "the identifier type %s is not supported", quote(id.Type))
}

// checkAddress returns what is wrong with an IP address, nil if nothing is: it must be one that a server can
// have, be it in a private network.
func checkAddress(value string) *problem {
	addr, err := netip.ParseAddr(value)
	if err != nil || addr.Zone() != "" || addr.Is4In6() || addr.String() != value {
		return problemf(malformed, "%s is not an IP address in the form of RFC 5952 (RFC 8738 §3)", quote(value))
	}
	thisNetwork, reserved := netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("240.0.0.0/4") // RFC 6890
	if addr.IsUnspecified() || addr.IsMulticast() || addr.IsLinkLocalUnicast() || thisNetwork.Contains(addr) || reserved.Contains(addr) {
		return problemf(rejectedIdentifier, "%s is an unspecified, multicast, link-local or reserved address", value)
	}
	return nil
}

// checkDomain returns what is wrong with a name in lower case, nil if nothing is.
func checkDomain(value string) *problem {
	name := strings.TrimPrefix(value, "*.")
	if len(value) > 253 || name == "" {
		return problemf(malformed, "the domain name %s has %d bytes; 1 to 253 are possible", quote(value), len(value))
	}
	labels := strings.Split(name, ".")
	if len(labels) > maxLabels {
		return problemf(malformed, "the domain name %s has %d labels; %d are possible", quote(value), len(labels), maxLabels)
	}
	for _, label := range labels {
		if !isLabel(label) {
			return problemf(malformed, "the domain name %s has a label that is empty, too long or not made of letters, digits and inner hyphens", quote(value))
		}
		if len(label) >= 4 && label[2:4] == "--" {
			if u, err := idna.Registration.ToUnicode(label); err != nil || u == label {
				return problemf(malformed, "the domain name %s has a label that looks like an A-label and is none", quote(value))
			}
		}
	}
	if strings.Trim(labels[len(labels)-1], "0123456789") == "" {
		return problemf(malformed, "the domain name %s ends in a number; an IP address has the identifier type ip", quote(value))
	}
	if suffix, listed := publicsuffix.PublicSuffix(name); listed && suffix == name {
		return problemf(rejectedIdentifier, "%s is a public suffix: names below it belong to many", quote(value))
	}
	return nil
}

func isLabel(label string) bool {
	if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	return strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}
