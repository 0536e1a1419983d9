package certmanager

import (
	"errors"
	"fmt"
	"net/mail"
	"net/netip"
	"net/url"
	"strings"

	"github.com/everseal/everseal/acme"
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
	if url := a.directoryURL(); (url == acme.LetsEncrypt || url == acme.LetsEncryptStaging) && !a.AgreeToTerms {
		wrong.add(errors.New("Config.AgreeToTerms is false: Let's Encrypt issues only to those who agree to its terms of service (https://letsencrypt.org/repository/)"))
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
