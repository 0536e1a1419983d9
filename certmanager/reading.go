package certmanager

import "context"

// read finds what the storage has: certificates of all issuers, of which the newest is served, and how far the work came.
func (a *attempt) read(ctx context.Context) (events []Event, err error) {
	if events, err = a.readCertificates(ctx); err != nil {
		return nil, err
	}
	if a.mayHaveMissed() {
		if err := a.work.hold(ctx); err != nil {
			return nil, err
		}
		more, err := a.readCertificates(ctx)
		if err != nil {
			return nil, err
		}
		events = append(events, more...)
	}
	e, first := a.entry, a.issuers[0].ID()
	if err := a.work.read(first); err != nil {
		if later := ofLaterRelease(a.work.key, err); later != nil && a.leaves() {
			return events, later
		}
		if err := a.archive.setAside(ctx, a.work.key, a.work.stored, Event{Names: e.names(), Issuer: first, Err: err}); err != nil {
			return events, err
		}
	}
	a.residents.read(nil)
	a.work.recall(a.left.memory)
	a.work.discount(a.stored)
	a.work.ours = true
	return events, nil
}

// mayHaveMissed reports whether others may have had the lease since it was found free, though it can be taken: there was no
// record, and there may be none again, for they have deleted the certificate with it.
func (a *attempt) mayHaveMissed() bool {
	if a.work.fence > 1 {
		return false
	}
	for _, s := range a.stored {
		if s.revision != "" {
			return true
		}
	}
	return false
}

// readCertificates finds those of all issuers, and serves the newest.
func (a *attempt) readCertificates(ctx context.Context) (events []Event, err error) {
	a.stored = make(map[string]stored, len(a.issuers))
	for _, issuer := range a.issuers {
		r, revision, err := a.archive.load(ctx, issuer, &a.entry.subject)
		if err != nil {
			return nil, err
		}
		a.stored[issuer.ID()] = stored{r, revision}
		if r != nil && a.serve(a.entry, r) {
			events = append(events, loadedEvent(a.entry, r))
		}
	}
	return events, nil
}
