package certmanager

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/everseal/everseal/certmanager/internal/record"
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
	done, err := m.transfer(ctx, &t)
	if err != nil && !errors.Is(err, errNotMade) {
		err = fmt.Errorf("certmanager: transfer: %w", err)
	}
	return done, err
}

// transfer is what Transfer and Import do.
func (m *Manager) transfer(ctx context.Context, t *Transfer) (done Transferred, err error) {
	if m.store == nil {
		return done, errNotMade
	}
	if m.config.Role == RoleServe {
		return done, errReadsOnly
	}
	key, err := parseKey(t.Key)
	if err != nil {
		return done, err
	}
	chain, err := parseChain(t.Certificate, key)
	if err != nil {
		return done, err
	}
	n, err := m.newcomer(ctx, chain.Leaf, key, t.Manage)
	if err != nil {
		return done, err
	}
	e := n.entry
	done.Names, done.KeyType = e.names(), e.keyType()
	meta := record.Meta{Issuer: m.issuers[0].ID(), Names: e.names(), KeyType: string(e.keyType()), Obtained: time.Now().UTC(), OnDemand: e.roles.has(onDemand), Imported: true}
	if t.Issuer != "" {
		if !m.hasIssuer(t.Issuer) {
			return done, fmt.Errorf("none of Config.Issuers has the ID %.100q", t.Issuer)
		}
		meta.Issuer, meta.Obtained, meta.Imported = t.Issuer, chain.Leaf.NotBefore.UTC(), false
	}
	r, err := record.New(meta, record.Key{Signer: key}, chain, &m.obtainer.archive.intermediates)
	if err != nil {
		return done, err
	}
	done.Changed, err = m.takeOver(ctx, n, r, t)
	if err != nil {
		err = fmt.Errorf("%v: %w", &e.subject, err)
	}
	return done, err
}

// takeOver stores the record, and has it served.
func (m *Manager) takeOver(ctx context.Context, n newcomer, r *record.Certificate, t *Transfer) (changed bool, err error) {
	e := n.entry
	changed, kept := m.keepImported(ctx, e, r, t) // before it is managed, so that none is ordered meanwhile
	if kept != nil && !errors.Is(kept, ErrNotNewer) || t.DryRun || n.isStored {
		return changed, kept
	}
	if !n.isManaged {
		if e, err = m.manageImported(e); err != nil {
			return changed, err
		}
	}
	if kept != nil {
		m.dispatcher.Update(e)
		return false, kept
	}
	m.mu.Lock()
	m.filled = true
	m.mu.Unlock()
	if m.obtainer.serve(e, r) {
		m.emit(ctx, loadedEvent(e, r))
	}
	m.obtainer.residents.add(e)
	loader{&m.obtainer}.loaded(e)
	m.dispatcher.Update(e)
	return changed, nil
}

// hasIssuer reports whether one of Config.Issuers has the ID.
func (m *Manager) hasIssuer(id string) bool {
	for _, issuer := range m.issuers {
		if issuer.ID() == id {
			return true
		}
	}
	return false
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
