package acme

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Identifier types (RFC 8555 §9.7.7, RFC 8738).
const (
	TypeDNS = "dns"
	TypeIP  = "ip"
)

// An Identifier is what a certificate can be issued for: a DNS name or an IP address (RFC 8555
// §7.1.3, RFC 8738).
type Identifier struct {
	Type  string `json:"type"`
	Value string `json:"value"`

	// AncestorDomain, in an order, is a domain above the name: control of it, or of any domain between
	// the two, may be proved instead (RFC 9444 §4.2). For CAs with DirectoryMeta.SubdomainAuthAllowed.
	AncestorDomain string `json:"ancestorDomain,omitempty"`
	// SubdomainAuthAllowed asks NewAuthorization for one that is good for all subdomains, too (RFC 9444 §4.1).
	SubdomainAuthAllowed bool `json:"subdomainAuthAllowed,omitempty"`
}

// An identifierResource is an identifier as it comes.
type identifierResource struct {
	Identifier
	AncestorDomain       optional[string] `json:"ancestorDomain"`
	SubdomainAuthAllowed looseBool        `json:"subdomainAuthAllowed"`
}

// identifier returns what could be read.
func (r *identifierResource) identifier() Identifier {
	r.Identifier.AncestorDomain, r.Identifier.SubdomainAuthAllowed = r.AncestorDomain.value, bool(r.SubdomainAuthAllowed)
	return r.Identifier
}

// canonical returns the identifier in the form that ParseIdentifier returns, if it has one.
func (id Identifier) canonical() Identifier {
	if parsed, err := ParseIdentifier(id.Value); err == nil && parsed.Type == id.Type {
		id.Value = parsed.Value
	}
	return id
}

// check reports whether the identifier is one that an order can have.
func (id Identifier) check() error {
	if id.Value == "" {
		return errors.New("an identifier is empty")
	}
	for _, value := range []string{id.Value, id.AncestorDomain} {
		parsed, err := ParseIdentifier(value)
		if value != "" && (err != nil || parsed != Identifier{Type: id.Type, Value: value}) {
			return fmt.Errorf("the identifier {%.40q, %.100q} is not in the form that ParseIdentifier returns", id.Type, value)
		}
	}
	if id.AncestorDomain != "" && !isSubdomain(id.Value, id.AncestorDomain) {
		return fmt.Errorf("%s is not below %s, the domain that is to stand for it", id.Value, id.AncestorDomain)
	}
	return nil
}

// isSubdomain reports whether name, which may be a wildcard, is below domain.
func isSubdomain(name, domain string) bool { return strings.HasSuffix(name, "."+domain) }

// String returns the identifier's value.
func (id Identifier) String() string { return id.Value }

// ParseIdentifier returns the identifier that s names, in the one form that certificates and orders
// use: a DNS name in lower-case A-labels, without a final dot, "*." before it for a wildcard; an IP
// address as RFC 5952 writes it. An A-label is left as it is. What is no such name is refused, saying why; that a
// public CA would not issue for it, as for localhost or a private address, is no reason: private CAs do.
func ParseIdentifier(s string) (Identifier, error) {
	const maxLength = 1024 // in any form: one letter of a name may have four bytes
	switch {
	case s == "":
		return Identifier{}, errors.New("acme: a domain name is empty")
	case len(s) > maxLength:
		return Identifier{}, fmt.Errorf("acme: %.60q… is not a domain name: it has %d bytes", s, len(s))
	case !utf8.ValidString(s):
		return Identifier{}, fmt.Errorf("acme: %q is not a domain name: it is not UTF-8", s)
	case strings.Contains(s, ":") || isDigitsAndDots(s):
		return parseAddress(s)
	}
	name, wildcard := strings.CutPrefix(s, "*.")
	name, err := toASCII(strings.TrimSuffix(name, "."))
	if err != nil {
		return Identifier{}, fmt.Errorf("acme: %.100q is not a domain name: %w", s, err)
	}
	if wildcard {
		name = "*." + name
	}
	if len(name) > 253 {
		return Identifier{}, fmt.Errorf("acme: %.60q… is not a domain name: it has %d bytes, at most 253 are possible", s, len(name))
	}
	return Identifier{Type: TypeDNS, Value: name}, nil
}

func parseAddress(s string) (Identifier, error) {
	inner, bracketed := strings.CutPrefix(s, "[")
	if bracketed {
		var closed bool
		if inner, closed = strings.CutSuffix(inner, "]"); !closed {
			inner = ""
		}
	}
	addr, err := netip.ParseAddr(inner)
	if err != nil {
		return Identifier{}, fmt.Errorf("acme: %.100q is neither a domain name nor an IP address (no port, scheme or path belongs here)", s)
	}
	if addr.Zone() != "" {
		return Identifier{}, fmt.Errorf("acme: %.100q has a zone, which no certificate can hold", s)
	}
	return Identifier{Type: TypeIP, Value: addr.Unmap().String()}, nil
}

// fullStop returns a stop of UTS 46 as a full stop, and any other character as it is.
func fullStop(r rune) rune {
	if r == '。' || r == '．' || r == '｡' {
		return '.'
	}
	return r
}

// toASCII converts name to lower-case labels of ASCII and checks each.
func toASCII(name string) (string, error) {
	name = strings.Map(fullStop, name)
	labels, changed := make([]string, 0, 8), false
	for label := range strings.SplitSeq(name, ".") {
		ascii, err := labelToASCII(label)
		if err != nil {
			return "", err
		}
		labels, changed = append(labels, ascii), changed || ascii != label
	}
	if last := labels[len(labels)-1]; strings.Trim(last, "0123456789") == "" {
		return "", fmt.Errorf("it ends in the number %s, as only an IP address does", last)
	}
	if !changed {
		return name, nil // without a copy: scanners ask for many
	}
	return strings.Join(labels, "."), nil
}

func labelToASCII(label string) (string, error) {
	isOdd := func(r rune) bool {
		isLetter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		return r < utf8.RuneSelf && !isLetter && r != '-' && (r < '0' || r > '9')
	}
	if i := strings.IndexFunc(label, isOdd); i >= 0 {
		return "", fmt.Errorf("the label %.60q holds %q; letters, digits and hyphens are possible", label, label[i])
	}
	ascii := strings.ToLower(label)
	if strings.ContainsFunc(label, func(r rune) bool { return r >= utf8.RuneSelf }) {
		var err error
		if ascii, err = idna.Lookup.ToASCII(label); err != nil {
			return "", errors.New(printable(err.Error(), 200))
		}
	}
	return ascii, checkLabel(ascii)
}

func checkLabel(label string) error {
	switch {
	case label == "":
		return fmt.Errorf("a label between its dots is empty")
	case len(label) > 63:
		return fmt.Errorf("the label %.20q… has %d bytes, at most 63 are possible", label, len(label))
	case strings.HasPrefix(label, "xn--"):
		if !isALabel(label) {
			return fmt.Errorf("the label %q is no A-label, as its beginning says: no name in Unicode is encoded so", label)
		}
	case label[0] == '-' || label[len(label)-1] == '-':
		return fmt.Errorf("the label %q begins or ends with a hyphen", label)
	case len(label) >= 4 && label[2:4] == "--":
		return fmt.Errorf("the label %q has hyphens in its third and fourth place, which are reserved (RFC 5891 §4.2.3.1)", label)
	}
	return nil
}

// isALabel reports whether the label decodes, and encodes to itself again. Which characters a name may have
// depends on the version of Unicode, which is a later one at some registries.
func isALabel(label string) bool {
	decoded, err := idna.Punycode.ToUnicode(label)
	if err != nil {
		return false
	}
	encoded, err := idna.Punycode.ToASCII(decoded)
	return err == nil && encoded == label
}

func isDigitsAndDots(s string) bool {
	return strings.Trim(s, "0123456789.") == "" && strings.Contains(s, ".")
}
