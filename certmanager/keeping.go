package certmanager

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/everseal/everseal/certmanager/internal/lifecycle"
	"github.com/everseal/everseal/certmanager/internal/record"
)

// A keeping is an attempt that has come to a certificate.
type keeping struct {
	*attempt
	issued *record.Certificate
}

// run serves the certificate, and stores it.
func (k *keeping) run(run context.Context) outcome {
	e, r, ctx := k.entry, k.issued, k.work.context()
	event := Event{Names: e.names(), Issuer: r.Issuer, Renewal: e.held() != nil}
	e.roles.set(unstored)
	if ctx.Err() == nil {
		k.serve(e, r) // nobody else has worked on it, and the storage may take its time
	}
	k.left.unsaved = r
	kept, err := k.put(ctx)
	if err != nil {
		return k.notKept(run, event, err)
	}
	k.left.unsaved = nil
	e.roles.unset(unstored)
	served := k.serve(e, kept)
	if kept != r {
		o := outcome{kind: lifecycle.Current}
		if served {
			o.events = []Event{loadedEvent(e, kept)}
		}
		return o
	}
	plan := k.work.Plan
	k.work.Done(r.Issuer)
	k.work.Plan = k.expectOwnPoll(&plan)
	event.Kind, event.Serial, event.NotAfter, event.Next = EventObtained, r.Serial, r.End, renewal(r)
	return outcome{kind: lifecycle.Obtained, events: []Event{event}}
}

// put stores the certificate in place of the one that was there when the lease was taken. If there is another by now,
// the lease was lost meanwhile and its new holder's certificate stays. It returns what is stored then. It continues for a
// while when ctx has ended: what was issued is not to be lost.
func (k *keeping) put(ctx context.Context) (kept *record.Certificate, err error) {
	r := k.issued
	value, err := r.Encode()
	if err != nil {
		return nil, err
	}
	key := k.entry.certificateKey(r.Issuer)
	before := k.stored[r.Issuer]
	err = attend(ctx, storeTimeout, func(ctx context.Context) error {
		_, err := k.store.Save(ctx, key, value, before.revision)
		if err == nil {
			kept = r
			return nil
		}
		// It may have been stored nevertheless, or another's.
		item, loadErr := k.store.Load(ctx, key)
		if loadErr != nil && !errors.Is(loadErr, fs.ErrNotExist) {
			return err
		}
		found, decodeErr := k.archive.decode(item.Value, &k.entry.subject)
		if later := ofLaterRelease(key, decodeErr); later != nil {
			return later
		}
		if decodeErr == nil && !found.Same(before.Certificate) {
			kept = found
			if found.Same(r) {
				kept = r
			}
			return nil
		}
		before.revision = item.Revision
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("store the certificate: %w", err)
	}
	return kept, nil
}

// notKept is the outcome when a certificate has come that the storage does not take. It is served, and stored later.
func (k *keeping) notKept(run context.Context, event Event, err error) outcome {
	err = fmt.Errorf("certmanager: %v: %w", &k.entry.subject, storageFailure(err))
	if run.Err() != nil {
		return outcome{kind: lifecycle.Deferred, until: time.Now(), err: err}
	}
	event.Kind, event.Err = EventFailed, err
	return outcome{kind: lifecycle.Failed, err: err, events: []Event{event}}
}
