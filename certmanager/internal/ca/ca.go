// Package ca knows what public CAs say of themselves beside their directories, as of November 2026: whom they make
// accounts for, what they put into a certificate, and how often they may be asked. What is not known of one is zero.
package ca

import (
	"fmt"
	"slices"
	"time"

	"github.com/everseal/everseal/acme"
)

// A CA is what is known of one. The zero value is that of one of which nothing is.
type CA struct {
	Name            string // for people; empty: the CA is not known
	Terms           string // page with its terms of service; empty: its directory names them
	ExternalAccount bool   // accounts are made only for those who have one there (RFC 8555 §7.3.4)
	Staging         string // directory of an environment for tests; empty: none is known

	MaxNames      int       // in a certificate of no known profile; zero: not known
	NoAddresses   bool      // none of its certificates is for IP addresses
	FixedLifetime bool      // orders can't ask for another (notAfter)
	Profiles      []Profile // the first is that of orders that ask for none
	Limits        Limits
}

// A Profile is a kind of certificate.
type Profile struct {
	Name      string
	MaxNames  int
	Addresses bool // it may be for IP addresses
}

// Limits are how often a CA may be asked. A zero one is none, or none that is known.
type Limits struct {
	AccountsPerAddress    Limit // new accounts from one IP address
	AccountsPerNetwork    Limit // new accounts from one IPv6 network of 48 bits
	Orders                Limit // new orders by one account
	CertificatesPerDomain Limit // for names below one registered domain, or one IPv4 address, or IPv6 network of 64 bits
	CertificatesPerSet    Limit // for exactly the same identifiers
	Failures              Limit // failed authorizations for one identifier by one account
	FailuresInRow         Limit // failed authorizations for one identifier by one account, none of which was valid in between
	// Renewals is for how long after a certificate an order for exactly its identifiers counts for CertificatesPerSet and
	// Failures alone. One that says what it replaces (RFC 9773 §5), in the window that is suggested for that, is checked for none
	// of them. Zero: all orders count for all.
	Renewals time.Duration
}

// A Limit is a token bucket: Count may be taken at once, and are given back evenly over Per.
type Limit struct {
	Count int
	Per   time.Duration
}

const (
	day  = 24 * time.Hour
	week = 7 * day
)

// At returns what is known of the CA whose directory has the URL.
func At(directory string) CA {
	switch directory {
	case acme.LetsEncrypt:
		return letsEncrypt("Let's Encrypt", acme.LetsEncryptStaging, Limits{
			AccountsPerAddress: Limit{10, 3 * time.Hour}, AccountsPerNetwork: Limit{500, 3 * time.Hour}, Orders: Limit{300, 3 * time.Hour},
			CertificatesPerDomain: Limit{50, week}, CertificatesPerSet: Limit{5, week}, Failures: Limit{5, time.Hour}, FailuresInRow: Limit{1152, 1152 * day}, Renewals: 120 * day,
		})
	case acme.LetsEncryptStaging:
		return letsEncrypt("Let's Encrypt's staging environment", "", Limits{
			AccountsPerAddress: Limit{50, 3 * time.Hour}, AccountsPerNetwork: Limit{500, 3 * time.Hour}, Orders: Limit{1500, 3 * time.Hour},
			CertificatesPerDomain: Limit{30_000, time.Second}, CertificatesPerSet: Limit{30_000, week}, Failures: Limit{200, time.Hour}, FailuresInRow: Limit{3600, 6 * time.Hour}, Renewals: 120 * day,
		})
	case acme.ZeroSSL:
		return CA{Name: "ZeroSSL", ExternalAccount: true, NoAddresses: true}
	case acme.GoogleTrustServices:
		return CA{Name: "Google Trust Services", ExternalAccount: true, Staging: acme.GoogleTrustServicesStaging}
	case acme.GoogleTrustServicesStaging:
		return CA{Name: "Google Trust Services' test environment", ExternalAccount: true}
	case acme.SSLcomRSA, acme.SSLcomECC:
		return CA{Name: "SSL.com", ExternalAccount: true}
	case acme.Actalis:
		return CA{Name: "Actalis", ExternalAccount: true}
	}
	return CA{}
}

func letsEncrypt(name, staging string, limits Limits) CA {
	return CA{
		Name: name, Terms: "https://letsencrypt.org/repository/", Staging: staging, FixedLifetime: true, MaxNames: 100, Limits: limits,
		Profiles: []Profile{{"classic", 100, false}, {"tlsserver", 25, false}, {"shortlived", 25, true}},
	}
}

// Profile returns the profile to order the identifiers with if none is asked for; empty: the CA's choice will do.
func (c CA) Profile(identifiers []acme.Identifier) string {
	if len(c.Profiles) == 0 || c.Profiles[0].Addresses || !slices.ContainsFunc(identifiers, isAddress) {
		return ""
	}
	if i := slices.IndexFunc(c.Profiles, func(p Profile) bool { return p.Addresses }); i >= 0 {
		return c.Profiles[i].Name
	}
	return ""
}

// Check returns why the CA does not issue for the identifiers in one certificate of the profile (empty: the one that it
// chooses, or that Profile returns); nil: it may.
func (c CA) Check(identifiers []acme.Identifier, profile string) error {
	if profile == "" {
		profile = c.Profile(identifiers)
	}
	kind, most, addresses := "", c.MaxNames, !c.NoAddresses
	for i, p := range c.Profiles {
		if p.Name == profile || profile == "" && i == 0 {
			kind, most, addresses = " of profile "+p.Name, p.MaxNames, p.Addresses
		}
	}
	if i := slices.IndexFunc(identifiers, isAddress); i >= 0 && !addresses {
		return fmt.Errorf("%s has no certificates%s for IP addresses such as %s", c.Name, kind, identifiers[i].Value)
	}
	if n := len(identifiers); most > 0 && n > most {
		return fmt.Errorf("%s takes at most %d names in a certificate%s, and here are %d: make several Subjects of them", c.Name, most, kind, n)
	}
	return nil
}

func isAddress(id acme.Identifier) bool { return id.Type == acme.TypeIP }
