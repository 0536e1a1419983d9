package certmanager

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// A Transfer is a certificate that another program has obtained, for [Manager.Transfer].
type Transfer struct {
	Certificate []byte // PEM, with those above it, as for [Manager.Import]
	Key         []byte // PEM, as for [Manager.Import]
	// Issuer is the ID of the issuer that signed it, as [Manager.IssuerAt] tells. Empty: somebody else did.
	Issuer string
	// Manage has the names managed from then on, as [Manager.Manage] does, if they are not.
	Manage bool
	// DryRun has nothing stored, served or managed.
	DryRun bool

	isImport bool // of Import: its caller wants this very certificate
}

// Transferred is what [Manager.Transfer] has done.
type Transferred struct {
	Names   []string // of the certificate, as they are managed
	KeyType KeyType  // that they are managed with: at most one certificate is served for the names with each
	Changed bool     // the storage did not have the certificate, or, in a dry run, does not
}

// ErrStorage is wrapped by the errors of a [Manager] and an [Account] that are the storage's fault.
var ErrStorage = errors.New("the storage fails")

// ErrNotManaged is wrapped by the error of [Manager.Transfer] for a certificate whose names are neither managed, as those of one
// certificate, nor allowed by Config.OnDemand.
var ErrNotManaged = errors.New("the names are not managed")

// Transfer takes over a certificate from another program, as [Manager.Import] does, with what is known of where it comes from.
// One that an issuer of the manager's has signed is from then on as if the manager had obtained it when it began: it is renewed
// when that issuer says so (RFC 9773), as what it is, and not before any other would be. One that somebody else has signed is
// served until it is due by its age, and then replaced by one of the manager's issuers.
//
// Only what the manager serves is taken: certificates of exactly the names of one that is managed, and of one name for which
// Config.OnDemand, which is asked, allows one. The latter is stored, and takes no memory until a client wants it. What else
// there is needs Manage; or the error wraps [ErrNotManaged] or [ErrDenied]. What is there already is no error.
//
// Of two certificates for the same names the one stays that has the kind of key that they are managed with, or, if both have or
// neither has, that ends later; and one that the manager has obtained since, in place of this or another, stays while
// it is valid. Then the error wraps [ErrNotNewer]. If the storage fails, it wraps [ErrStorage].
func (m *Manager) Transfer(ctx context.Context, t Transfer) (Transferred, error) {
	if m.store == nil {
		return Transferred{}, errNotMade
	}
	done, err := m.importer.transfer(ctx, &t)
	if err != nil {
		err = fmt.Errorf("certmanager: transfer: %w", err)
	}
	return done, err
}

// IssuerAt returns the ID of that one of Config.Issuers that speaks ACME to a CA. The CA is named by the URL of its directory,
// or, if only one of them is there, by its host, as "ca.example.com", or any URL of that. Empty: there is none, or no telling
// which of several.
func (m *Manager) IssuerAt(ca string) string {
	host, found := ca, ""
	if u, err := url.Parse(ca); err == nil && u.Host != "" {
		host = u.Host
	}
	for _, issuer := range m.issuers {
		a, ok := capability[*acmeIssuer](issuer)
		if !ok {
			continue
		}
		directory := a.directoryURL()
		if directory == ca {
			return issuer.ID()
		}
		if u, err := url.Parse(directory); err != nil || !strings.EqualFold(u.Host, host) {
			continue
		}
		if found != "" {
			return ""
		}
		found = issuer.ID()
	}
	return found
}
