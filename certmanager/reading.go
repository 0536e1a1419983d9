package certmanager

import (
	"context"
	"time"

	"github.com/everseal/everseal/certmanager/internal/lifecycle"
)

// A reading is of what there is of an attempt's certificate, before anything is done about it.
type reading struct{ *attempt }

// read finds what the storage has: certificates of all issuers, of which the newest is served, and how far the work came.
func (r reading) read(ctx context.Context) (events []Event, err error) {
	if events, err = r.readCertificates(ctx); err != nil {
		return nil, err
	}
	if r.mayHaveMissed() {
		if err := r.work.hold(ctx); err != nil {
			return nil, err
		}
		more, err := r.readCertificates(ctx)
		if err != nil {
			return nil, err
		}
		events = append(events, more...)
	}
	e, first := r.entry, r.issuers[0].ID()
	if err := r.work.read(first); err != nil {
		if later := ofLaterRelease(r.work.key, err); later != nil && r.leaves() {
			return events, later
		}
		if err := r.archive.setAside(ctx, r.work.key, r.work.stored, Event{Names: e.names(), Issuer: first, Err: err}); err != nil {
			return events, err
		}
	}
	r.residents.read(nil)
	r.left.memory.restore(r.work)
	r.work.discount(r.stored)
	r.work.ours = true
	return events, nil
}

// mayHaveMissed reports whether others may have had the lease since it was found free, though it can be taken: there was no
// record, and there may be none again, for they have deleted the certificate with it.
func (r reading) mayHaveMissed() bool {
	if r.work.fence > 1 {
		return false
	}
	for _, s := range r.stored {
		if s.revision != "" {
			return true
		}
	}
	return false
}

// readCertificates finds those of all issuers, and serves the newest.
func (r reading) readCertificates(ctx context.Context) (events []Event, err error) {
	r.stored = make(map[string]stored, len(r.issuers))
	for _, issuer := range r.issuers {
		c, revision, err := r.archive.load(ctx, issuer, &r.entry.subject)
		if err != nil {
			return nil, err
		}
		r.stored[issuer.ID()] = stored{c, revision}
		if c != nil && r.serve(r.entry, c) {
			events = append(events, loadedEvent(r.entry, c))
		}
	}
	return events, nil
}

// leaves reports whether the record of the work is to be left to those members of the fleet that can read it. It is not if
// there is no certificate, or if that is about to end: they had time enough.
func (r reading) leaves() bool {
	return r.entry.held() != nil && r.entry.progress.plan(time.Now()).Urgency > lifecycle.Expiring
}

// heedPlan has the attempt's certificate renewed at the time that another process has planned, if that is later.
func (r reading) heedPlan() {
	p, now, current := &r.work.Plan, time.Now(), r.entry.held()
	if r.task.Forced || !p.Renewal.After(now) || r.pollable(current) == nil || !p.Is(current.issuer, r.entry.serial()) {
		return
	}
	e, look := planned{r.entry}, p.Next
	if !e.roles.has(polling) {
		look = e.nextLook(p, now)
	}
	e.follow(p, look)
}

// isDeleted reports whether the certificate that is served, and was stored, has been deleted by another process.
func (r reading) isDeleted(ctx context.Context) (bool, error) {
	for _, s := range r.stored {
		if s.revision != "" {
			return false, nil
		}
	}
	s := r.entry.held()
	if s == nil || r.entry.roles.has(unstored) {
		return false, nil
	}
	return r.archive.wasDeleted(ctx, r.entry.certificateKey(s.issuer), s.obtainedAt())
}
