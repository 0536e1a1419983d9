package certmanager

import (
	"cmp"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
)

// A LocalCA is an Issuer that signs by itself, without proof of control, for development and for internal names, those
// that no public CA issues for among them. Clients have to trust its root, which Root exports. Root and intermediate are
// made when first needed, and kept in the manager's storage with their private keys: whoever can read it can sign. Put it
// into a storage.Sealed if that is too many. All who share the storage have the same root.
type LocalCA struct {
	// Name is the issuer's ID, and part of the names of root and intermediate. Another name means another CA.
	// Zero: "local".
	Name string
	// Permitted are domains, each with all below it, and ranges of IP addresses: the only ones for which clients are to
	// believe the root (RFC 5280 §4.2.1.10), such as "internal" and "10.0.0.0/8". Zero: all. They can't be changed
	// later without another Name.
	Permitted []string
	// Excluded are those, in the same form, for which they are not to believe it.
	Excluded []string
	// Lifetime is that of certificates, a year at most. Zero: a week.
	Lifetime time.Duration
}

// ID returns the Name.
func (c *LocalCA) ID() string { return cmp.Or(c.Name, "local") }

// Bind checks what is set, and returns the CA at work for one manager.
func (c *LocalCA) Bind(s Services) (Issuer, error) {
	return c.open(s.Storage)
}

// Issue signs a certificate, if the CA was bound to a manager.
func (c *LocalCA) Issue(ctx context.Context, r Request) (*acme.Certificate, error) {
	if r.Bound == nil {
		return nil, errNotBound
	}
	return r.Bound.Issue(ctx, r)
}

// Root returns the root's certificate in PEM, for clients to trust. The storage is the manager's. If the CA is not in it
// yet, it is made.
func (c *LocalCA) Root(ctx context.Context, s storage.Store) ([]byte, error) {
	opened, err := c.open(s)
	if err != nil {
		return nil, err
	}
	a, err := opened.authority(ctx, time.Now())
	if err != nil {
		return nil, fmt.Errorf("certmanager: root of the local CA %q: %w", c.ID(), err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Root.Certificate.Raw}), nil
}

func (c *LocalCA) open(s storage.Store) (*localAuthority, error) {
	if s == nil {
		return nil, errors.New("certmanager: LocalCA: the storage is nil: a local CA keeps its root there")
	}
	if c.Lifetime < 0 || c.Lifetime > maxLocalLifetime {
		return nil, fmt.Errorf("certmanager: LocalCA.Lifetime is %v: more than nothing is possible, and a year at most", c.Lifetime)
	}
	constraints, err := newConstraints(c.Permitted, c.Excluded)
	if err != nil {
		return nil, err
	}
	return &localAuthority{id: c.ID(), lifetime: cmp.Or(c.Lifetime, localLifetime), constraints: constraints, store: s}, nil
}

const (
	localLifetime        = 7 * 24 * time.Hour
	maxLocalLifetime     = 365 * 24 * time.Hour
	intermediateLifetime = 2 * maxLocalLifetime // it is replaced when what is left is less than a certificate may live
	rootLifetime         = 10 * 365 * 24 * time.Hour
	localBackdate        = time.Hour // clients' clocks differ
)

// A localAuthority is a LocalCA at work for one manager.
type localAuthority struct {
	id          string
	lifetime    time.Duration
	constraints constraints
	store       storage.Store
	known       atomic.Pointer[record.Authority] // as it was last read; nil: not yet
}

// ID returns that of the LocalCA.
func (a *localAuthority) ID() string { return a.id }

// Supports returns why clients would not believe the CA.
func (a *localAuthority) Supports(r Request) error { return a.constraints.check(r.Identifiers) }

// Issue signs a certificate.
func (a *localAuthority) Issue(ctx context.Context, r Request) (*acme.Certificate, error) {
	if r.Key == nil {
		return nil, errors.New("certmanager: Request.Key is nil: a certificate needs a key")
	}
	if err := a.constraints.check(r.Identifiers); err != nil {
		return nil, &acme.OrderError{Err: err}
	}
	now := time.Now()
	authority, err := a.authority(ctx, now)
	if err != nil {
		return nil, err
	}
	if left := authority.Root.Certificate.NotAfter.Sub(now); left < maxLocalLifetime && r.Warn != nil {
		r.Warn(fmt.Errorf("the root of the local CA %q ends in %d days: give the LocalCA another Name, and have clients trust the new root", a.id, left/(24*time.Hour)))
	}
	leaf, err := signLeaf(&authority.Intermediate, &r, now, a.lifetime)
	if err != nil {
		return nil, fmt.Errorf("certmanager: local CA %q: %w", a.id, err)
	}
	return &acme.Certificate{Leaf: leaf, Chain: [][]byte{leaf.Raw, authority.Intermediate.Certificate.Raw}}, nil
}

// authority returns root and intermediate, which it makes if there are none in the storage or the intermediate is near
// its end, unless another process is faster.
func (a *localAuthority) authority(ctx context.Context, now time.Time) (*record.Authority, error) {
	if known := a.known.Load(); known != nil && isFit(known, now) {
		return known, nil
	}
	key := record.AuthorityKey(a.id)
	var found *record.Authority
	var unusable error
	_, err := storage.Update(ctx, a.store, key, func(old []byte) ([]byte, error) {
		if found, unusable = a.read(key, old); unusable != nil {
			return nil, unusable
		}
		if found != nil && isFit(found, now) {
			return nil, errFit
		}
		if found, unusable = a.renew(found, now); unusable != nil {
			return nil, unusable
		}
		return found.Encode()
	})
	switch {
	case unusable != nil:
		return nil, &UnavailableError{Err: unusable}
	case err != nil && !errors.Is(err, errFit):
		return nil, storageFailure(err)
	}
	a.known.Store(found)
	return found, nil
}

// errFit is why the storage is left as it is.
var errFit = errors.New("what is stored will do")

// isFit reports whether the intermediate can sign certificates that live their whole lives, or no other one could.
func isFit(a *record.Authority, now time.Time) bool {
	end := a.Intermediate.Certificate.NotAfter
	return now.Before(end) && (end.Sub(now) >= maxLocalLifetime || !end.Before(a.Root.Certificate.NotAfter))
}

// read returns what is stored; nil: nothing is.
func (a *localAuthority) read(key string, stored []byte) (*record.Authority, error) {
	if stored == nil {
		return nil, nil
	}
	found, err := record.DecodeAuthority(stored)
	if err != nil {
		return nil, fmt.Errorf("the stored record %s can't be read: restore it, or delete it to make a new CA, whose root clients then have to trust: %w", key, err)
	}
	if !slices.Equal(found.Permitted, a.constraints.permitted) || !slices.Equal(found.Excluded, a.constraints.excluded) {
		return nil, fmt.Errorf("the stored record %s is of a CA with other constraints: give the LocalCA another Name, and have clients trust the new root", key)
	}
	return found, nil
}
