package certmanager

import (
	"cmp"
	"time"
)

// Supports returns why the CA will never issue for the names, as far as it is known.
func (a *acmeIssuer) Supports(r Request) error {
	return a.ca.Check(r.Identifiers, cmp.Or(r.Profile, a.Profile))
}

// profile returns the one to ask for; empty: the CA's choice.
func (a *acmeIssuer) profile(r *Request) string {
	return cmp.Or(r.Profile, a.Profile, a.ca.Profile(r.Identifiers))
}

// notAfter returns the end to ask for; zero: the CA's choice.
func notAfter(now time.Time, lifetime time.Duration) time.Time {
	if lifetime == 0 {
		return time.Time{}
	}
	return now.Add(lifetime).UTC().Truncate(time.Second)
}
