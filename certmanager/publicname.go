package certmanager

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/ca"
)

// privateDomains are domains that are not in the public DNS: by special use (RFC 6761, RFC 6762, RFC 7686, RFC 9476), or for
// private networks (.internal, and those that ICANN delegates to nobody).
func privateDomains() []string {
	return []string{"alt", "corp", "example", "home", "home.arpa", "internal", "intranet", "invalid", "lan", "local",
		"localdomain", "localhost", "mail", "onion", "private", "test"}
}

// checkPublic reports why no public CA issues for the name (CA/Browser Forum Baseline Requirements §4.2.2, §3.2.2.6).
func checkPublic(id acme.Identifier) error {
	name, _ := strings.CutPrefix(id.Value, "*.")
	if id.Type == acme.TypeIP {
		if addr, err := netip.ParseAddr(name); err == nil && (!addr.IsGlobalUnicast() || addr.IsPrivate()) {
			return fmt.Errorf("%s: no public CA issues for addresses of private networks: have an issuer of your own in Config.Issuers", id.Value)
		}
		return nil
	}
	private := slices.ContainsFunc(privateDomains(), func(domain string) bool {
		return name == domain || strings.HasSuffix(name, "."+domain)
	})
	if private || !strings.Contains(name, ".") {
		return fmt.Errorf("%s: no public CA issues for names that are not in the public DNS: have an issuer of your own in Config.Issuers", id.Value)
	}
	if suffix, registry := publicsuffix.PublicSuffix(name); registry && suffix == name {
		return fmt.Errorf("%s: no public CA issues for what is nobody's own, as names are registered below it: name one of those", id.Value)
	}
	return nil
}

// asksPublicCAs reports whether all issuers are known to be public CAs.
func (c *Config) asksPublicCAs() bool {
	for _, issuer := range c.issuers() {
		if a, ok := issuerAs[*ACME](issuer); !ok || a == nil || ca.At(a.directoryURL()).Name == "" {
			return false
		}
	}
	return true
}
