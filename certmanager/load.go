package certmanager

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/everseal/everseal/certmanager/internal/lifecycle"
	"github.com/everseal/everseal/certmanager/internal/schedule"
	"github.com/everseal/everseal/storage"
)

// storageTimeout is for one look into the storage: what hangs is given up, and tried again.
const storageTimeout = 30 * time.Second

// recordKey is the storage key of the certificate that the issuer signed for the subject.
func recordKey(issuer Issuer, s *subject) string { return recordPrefix(issuer) + s.key() }

// recordPrefix is that of all certificates that the issuer signed.
func recordPrefix(issuer Issuer) string { return "certificates/" + issuer.ID() + "/" }

// workKey is the storage key of the lease, and in it the record, of the work on a certificate by a chain of issuers, of
// which this is the first.
func workKey(first Issuer, s *subject) string { return "work/" + first.ID() + "/" + s.key() }

// load sees what the storage has for the entry, and serves it.
func (o *obtainer) load(ctx context.Context, e *entry) outcome {
	r, err := o.best(ctx, e)
	var events []Event
	if r != nil && o.serve(e, r) {
		events = append(events, loadedEvent(e, r))
	}
	if err == nil {
		return outcome{kind: lifecycle.Loaded, events: events}
	}
	failed := o.failed(ctx, e, err)
	if len(failed.events) > 0 {
		failed.events[0].Kind = EventWarning
	}
	failed.events = append(events, failed.events...)
	return failed
}

// loadedEvent is the event of a certificate that was found in the storage and is served.
func loadedEvent(e *entry, r *record) Event {
	return Event{Kind: EventLoaded, Names: e.names(), Issuer: r.meta.Issuer, Serial: r.serial, NotAfter: r.notAfter, Next: renewal(r)}
}

// best returns the newest certificate that the storage has for the entry, of any issuer, or nil.
func (o *obtainer) best(ctx context.Context, e *entry) (*record, error) {
	var best *record
	var failure error
	for _, issuer := range o.issuers {
		r, err := o.loadRecord(ctx, issuer, &e.subject)
		if err != nil {
			failure = err
		}
		if r != nil && r.newerThan(best) {
			best = r
		}
	}
	return best, failure
}

// loadRecord returns the stored certificate, or nil if there is none that can be used. One that is broken is copied aside
// first.
func (o *obtainer) loadRecord(ctx context.Context, issuer Issuer, s *subject) (*record, error) {
	limited, cancel := context.WithTimeoutCause(ctx, storageTimeout, errSlowStorage)
	defer cancel()
	key := recordKey(issuer, s)
	item, err := o.store.Load(limited, key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("load the certificate: %w", slowStorage(limited, err))
	}
	r, err := o.decodeRecord(item.Value, s)
	if err != nil {
		return nil, o.setAside(ctx, key, item.Value, Event{Names: s.names(), Issuer: issuer.ID(), Err: err})
	}
	return r, nil
}

// errSlowStorage is why a look into the storage was given up.
var errSlowStorage = fmt.Errorf("the storage did not answer within %v", storageTimeout)

// slowStorage returns the error of a look, or that it took too long.
func slowStorage(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, errSlowStorage) {
		return cause
	}
	return err
}

// setAside keeps a copy of a record that can't be used, for whoever wants to know, and reports it. If it fails, the record
// must not be replaced.
func (o *obtainer) setAside(ctx context.Context, key string, value []byte, e Event) error {
	ctx, cancel := context.WithTimeoutCause(ctx, storageTimeout, errSlowStorage)
	defer cancel()
	sum := sha256.Sum256(value)
	aside := "corrupt/" + hex.EncodeToString(sum[:8]) + "/" + key
	_, err := o.store.Save(ctx, aside, value, "")
	if errors.Is(err, storage.ErrConflict) {
		return nil // kept and reported before
	}
	e.Kind, e.Err = EventCorrupt, fmt.Errorf("certmanager: the stored record %s can't be used (a copy is kept at %s): %w", key, aside, e.Err)
	if err != nil {
		return fmt.Errorf("%w; and the copy can't be kept: %w", e.Err, slowStorage(ctx, err))
	}
	o.emit(ctx, e)
	return nil
}

// renewal returns when the certificate is due for renewal. The instant is spread by the certificate's own hash: every
// process finds the same one, and nothing needs to be stored. It is never at once after the certificate was obtained,
// whatever the clocks of this machine and of the CA have to do with each other.
func renewal(r *record) time.Time {
	sum := sha256.Sum256(r.chain[0])
	spread := float64(binary.BigEndian.Uint64(sum[:8])>>11) / (1 << 53)
	return schedule.AfterIssuance(schedule.Renewal(r.notBefore, r.notAfter, spread), r.meta.Obtained, r.notAfter, spread)
}
