package certmanager

import (
	"cmp"
	"errors"
	"fmt"
	"net/mail"
	"net/netip"
	"net/url"
	"strings"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/ca"
)

// check reports what is wrong with the issuer as far as it shows without calling anybody.
func (a *ACME) check(wrong *misconfiguration) {
	if a.HTTPClient != nil && a.Roots != nil {
		wrong.add(errors.New("ACME.HTTPClient is set: it is told of the roots to trust itself, not by ACME.Roots"))
	}
	if err := checkDirectory(a.DirectoryURL); err != nil {
		wrong.addf("ACME.DirectoryURL %w", err)
	}
	if err := checkEmail(a.Email); err != nil {
		wrong.addf("ACME.Email %w", err)
	}
	if a.Lifetime < 0 {
		wrong.addf("ACME.Lifetime is %v: zero leaves it to the CA", a.Lifetime)
	}
	checkSolvers("ACME.Solvers", a.Solvers, wrong)
	if err := a.checkExternalAccount(); err != nil {
		wrong.addf("ACME.ExternalAccount %w", err)
	}
	known := ca.At(a.directoryURL())
	if known.Name != "" && !a.AgreeToTerms {
		wrong.addf("Config.AgreeToTerms is false, and so is ACME.AgreeToTerms: %s issues only to those who agree to its terms of service (%s)",
			known.Name, cmp.Or(known.Terms, a.directoryURL()+" names them"))
	}
	if known.FixedLifetime && a.Lifetime != 0 {
		wrong.addf("ACME.Lifetime is %v: %s issues for no other lifetimes than those of its profiles: set ACME.Profile", a.Lifetime, known.Name)
	}
	a.Limits.check(wrong)
	a.checkStaging(wrong)
}

// checkExternalAccount reports what is wrong with the external account, of which it shows no key.
func (a *ACME) checkExternalAccount() error {
	external, known := a.ExternalAccount, ca.At(a.directoryURL())
	switch {
	case external == nil && known.ExternalAccount:
		return fmt.Errorf("is missing: %s makes accounts only for those who have one there: set the key that it hands out, and its identifier", known.Name)
	case external == nil:
		return nil
	case strings.TrimSpace(external.KeyID) == "":
		return errors.New("has no KeyID: the CA hands one out with the MAC key")
	case strings.TrimSpace(external.KeyID) != external.KeyID:
		return fmt.Errorf("has the KeyID %.100q: leave out the blanks around it", external.KeyID)
	case len(external.MACKey) == 0:
		return fmt.Errorf("%.100q has no MACKey: decode what the CA hands out with acme.ParseMACKey", external.KeyID)
	}
	return nil
}

// checkStaging reports what is wrong with where dry runs are made.
func (a *ACME) checkStaging(wrong *misconfiguration) {
	staging := a.staging()
	switch {
	case staging == nil:
	case staging.DirectoryURL == "":
		wrong.addf("ACME.Staging has no DirectoryURL, and no staging environment of the CA is known")
	case staging.ID() == a.ID():
		wrong.addf("ACME.Staging has the directory of the CA itself: a dry run there costs what it is to save")
	default:
		var there misconfiguration
		staging.AgreeToTerms = staging.AgreeToTerms || !a.AgreeToTerms // that these are not agreed to is said once
		staging.check(&there)
		for _, err := range there.errs {
			wrong.addf("ACME.Staging: %w", err)
		}
	}
}

// checkDirectory reports what is wrong with the URL of a CA's directory, of which it shows no password.
func checkDirectory(directory string) error {
	u, err := url.Parse(directory)
	switch {
	case directory == "":
		return nil
	case strings.Contains(directory, "@"):
		return errors.New("has a user name in its URL, or an @: ACME knows accounts by their keys alone")
	case err != nil || u.Host == "":
		return fmt.Errorf("is %.200q: it must be the URL of an ACME directory, such as %s", directory, acme.LetsEncrypt)
	case u.Scheme == "https":
		return nil
	}
	addr, err := netip.ParseAddr(u.Hostname())
	if u.Scheme == "http" && (u.Hostname() == "localhost" || err == nil && addr.IsLoopback()) {
		return nil // a test server on this machine
	}
	return fmt.Errorf("is %.200q: it must begin with https://, such as %s", directory, acme.LetsEncrypt)
}

func checkEmail(email string) error {
	if email == "" {
		return nil
	}
	if address, err := mail.ParseAddress(email); err != nil || address.Address != email {
		return fmt.Errorf("is %.100q: it must be an address alone, such as admin@example.com", email)
	}
	return nil
}
