package certmanager

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/certmanager/internal/schedule"
	"github.com/everseal/everseal/storage"
)

// storageTimeout is of one call of the storage: what hangs is given up, and tried again.
const storageTimeout = 30 * time.Second

// An archive reads the certificates that the storage has.
type archive struct {
	store         storage.Store
	issuers       []*gatedIssuer
	keyring       *keyring
	emit          func(context.Context, Event)
	intermediates record.Intermediates
	readOnly      bool     // no copy is made of a record that can't be used
	unusable      sync.Map // the keys of the copies that were not made: each is reported once
}

// newest returns the newest certificate that the storage has for the entry, of any issuer, or nil.
func (a *archive) newest(ctx context.Context, e *entry) (*record.Certificate, error) {
	var best *record.Certificate
	var failure error
	for _, issuer := range a.issuers {
		r, _, err := a.load(ctx, issuer, &e.subject)
		if err != nil {
			failure = err
		}
		if r != nil && r.NewerThan(best, time.Now()) {
			best = r
		}
	}
	return best, failure
}

// load returns the stored certificate, or nil if there is none that can be used, and the revision of what is stored. One
// that is broken is copied aside first.
func (a *archive) load(ctx context.Context, issuer *gatedIssuer, s *subject) (*record.Certificate, storage.Revision, error) {
	item, err := a.item(ctx, s.certificateKey(issuer.ID()))
	if err != nil || item.Revision == "" {
		return nil, "", err
	}
	r, err := a.read(ctx, issuer, s, item)
	return r, item.Revision, err
}

// item returns what is stored at the key of a certificate; no revision: nothing is.
func (a *archive) item(ctx context.Context, key string) (storage.Item, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, storageTimeout, errSlowStorage)
	defer cancel()
	item, err := a.store.Load(ctx, key)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return storage.Item{}, nil
	case err != nil:
		return storage.Item{}, fmt.Errorf("load the certificate: %w", slowStorage(ctx, err))
	}
	return item, nil
}

// read returns the certificate of what is stored, or nil if that can't be used: then it is copied aside.
func (a *archive) read(ctx context.Context, issuer *gatedIssuer, s *subject, item storage.Item) (*record.Certificate, error) {
	r, err := a.decode(item.Value, s)
	if err == nil {
		return r, nil
	}
	key := s.certificateKey(issuer.ID())
	if later := ofLaterRelease(key, err); later != nil {
		return nil, later
	}
	return nil, a.setAside(ctx, key, item.Value, Event{Names: s.names(), Issuer: issuer.ID(), Err: err})
}

// at returns the certificate that is stored at a key, or nil if there is none that can be used.
func (a *archive) at(ctx context.Context, key string) (*record.Certificate, error) {
	item, err := storedAt(ctx, a.store, key)
	if err != nil || item.Revision == "" {
		return nil, err
	}
	r, err := record.DecodeCertificate(item.Value, nil, &a.intermediates)
	if err != nil {
		return nil, nil
	}
	return r, nil
}

// keysOf returns the storage keys of a subject's certificates, of all issuers.
func (a *archive) keysOf(ctx context.Context, subject string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, issuer := range a.issuers {
			for key, err := range a.store.List(ctx, record.CertificatePrefix(issuer.ID())+"/"+subject) {
				if !yield(key, err) {
					return
				}
			}
		}
	}
}

// sharedBy returns the names in storage keys of the subjects of several names of which one is among those given.
func (a *archive) sharedBy(ctx context.Context, names []string) (subjects []string, err error) {
	for _, issuer := range a.issuers {
		for key, err := range a.store.List(ctx, record.CertificatePrefix(issuer.ID())) {
			if err != nil {
				return nil, err
			}
			_, subject, _, ok := record.ParseCertificateKey(key)
			if !ok || !strings.Contains(subject, "+") {
				continue
			}
			r, err := a.at(ctx, key)
			if err != nil || r == nil {
				continue // it is gone, or it is the one that can't be read
			}
			if slices.ContainsFunc(names, func(name string) bool { return slices.Contains(r.Names, name) }) {
				subjects = append(subjects, subject)
			}
		}
	}
	return subjects, nil
}

// has reports whether the storage has a record at the key.
func (a *archive) has(ctx context.Context, key string) (bool, error) {
	limited, cancel := context.WithTimeoutCause(ctx, storageTimeout, errSlowStorage)
	defer cancel()
	_, err := a.store.Load(limited, key)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return err == nil, nil
	}
	return false, slowStorage(limited, err)
}

// hasAny reports whether the storage has any certificate.
func (a *archive) hasAny(ctx context.Context) bool {
	for _, issuer := range a.issuers {
		for _, err := range a.store.List(ctx, record.CertificatePrefix(issuer.ID())) {
			return err == nil
		}
	}
	return false
}

// decode reads a stored certificate of the subject. A key that is kept elsewhere is opened when it is first needed.
func (a *archive) decode(data []byte, s *subject) (*record.Certificate, error) {
	r, err := record.DecodeCertificate(data, s.identifiers, &a.intermediates)
	if err != nil || r.Key.Reference == "" {
		return r, err
	}
	if a.keyring.keys == nil {
		return nil, errNoKeys
	}
	r.Key.Signer = newDistantKey(a.keyring, r)
	return r, nil
}

// errSlowStorage is why a call of the storage was given up.
var errSlowStorage = fmt.Errorf("the storage did not answer within %v", storageTimeout)

// slowStorage returns the error of a call, or that it took too long.
func slowStorage(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, errSlowStorage) {
		return cause
	}
	return err
}

// storedAt returns what the storage has at a key; no revision: nothing.
func storedAt(ctx context.Context, s storage.Store, key string) (storage.Item, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, storageTimeout, errSlowStorage)
	defer cancel()
	item, err := s.Load(ctx, key)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return storage.Item{}, storageFailure(slowStorage(ctx, err))
	}
	return item, nil
}

// setAside keeps a copy of a record that can't be used, for whoever wants to know, and reports it. If it fails, the record
// must not be replaced.
func (a *archive) setAside(ctx context.Context, key string, value []byte, e Event) error {
	ctx, cancel := context.WithTimeoutCause(ctx, storageTimeout, errSlowStorage)
	defer cancel()
	aside := record.CorruptKey(key, value)
	if a.readOnly {
		if _, reported := a.unusable.LoadOrStore(aside, true); !reported {
			e.Kind, e.Err = EventCorrupt, fmt.Errorf("certmanager: the stored record %s can't be used: %w", key, e.Err)
			a.emit(ctx, e)
		}
		return nil
	}
	_, err := a.store.Save(ctx, aside, value, "")
	if errors.Is(err, storage.ErrConflict) {
		return nil // kept and reported before
	}
	e.Kind, e.Err = EventCorrupt, fmt.Errorf("certmanager: the stored record %s can't be used (a copy is kept at %s): %w", key, aside, e.Err)
	if err != nil {
		return fmt.Errorf("%w; and the copy can't be kept: %w", e.Err, slowStorage(ctx, err))
	}
	a.emit(ctx, e)
	return nil
}

// renewal returns when the certificate is due for renewal. The instant is spread by the certificate's own hash: every
// process finds the same one, and nothing needs to be stored. It is never at once after the certificate was obtained,
// whatever the clocks of this machine and of the CA have to do with each other.
func renewal(r *record.Certificate) time.Time {
	s := spread(r)
	if r.Imported {
		if due := usualRenewal(r); due.After(r.Obtained) {
			return due
		}
		return r.Obtained.Add(minRenewalPause)
	}
	due := schedule.AfterIssuance(schedule.Renewal(r.NotBefore, r.End, s), r.Obtained, r.End, s)
	if r.Obtained.After(r.End) {
		return due // by a wrong clock
	}
	// The successor may end no later. Half of what is left, and half of that, would soon be nothing.
	least := minRenewalPause
	if r.EndOf != "" {
		least = max(least, min(r.NotAfter.Sub(r.NotBefore)/minRenewalPart, r.End.Sub(r.Obtained)))
	}
	if earliest := r.Obtained.Add(least); due.Before(earliest) {
		return earliest
	}
	return due
}

const (
	minRenewalPause = time.Second // between two certificates
	minRenewalPart  = 256         // for this part of its lifetime a certificate is kept at least whose intermediate is about to end
)

// usualRenewal returns when the certificate were due if it had been obtained when it began.
func usualRenewal(r *record.Certificate) time.Time {
	return schedule.Renewal(r.NotBefore, r.End, spread(r))
}

// spread returns a number of [0,1) that is the certificate's own.
func spread(r *record.Certificate) float64 {
	sum := sha256.Sum256(r.Chain[0])
	return float64(binary.BigEndian.Uint64(sum[:8])>>11) / (1 << 53)
}
