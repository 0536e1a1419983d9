package certmanager

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/everseal/everseal/certmanager/internal/record"
)

// errImpossible is why no certificate is obtained for a name.
var errImpossible = errors.New("it is no name that a certificate can be obtained for on demand")

// Demands are worked on here: whether the name may have a certificate is asked, and that is loaded or obtained.
type demands struct {
	*obtainer
	admission  *admission
	normalized func(...Subject) ([]subject, error) // of Manager
}

// run works on what handshakes wait for, until ctx ends.
func (ds *demands) run(ctx context.Context, tasks *sync.WaitGroup) {
	for {
		select {
		case d := <-ds.admission.queue:
			tasks.Go(func() {
				certificate, err := ds.satisfy(ctx, d)
				ds.admission.finish(d, certificate, err)
			})
		case <-ctx.Done():
			return
		}
	}
}

// satisfy asks whether the name may have a certificate, and loads or obtains it.
func (ds *demands) satisfy(ctx context.Context, d *demand) (*tls.Certificate, error) {
	name := d.name
	denied := ds.policy.ask(ctx, Question{Name: name, Remote: d.remote})
	if denied != nil {
		ds.turnedAway(ctx, name, denied)
		denied = fmt.Errorf("certmanager: %s: %w", name, denied)
	}
	if errors.Is(denied, ErrDenied) {
		return nil, &negative{until: time.Now().Add(denialPeriod), err: denied}
	}
	s, err := ds.normalized(Subject{Names: []string{name}})
	if err != nil {
		ds.turnedAway(ctx, name, err)
		return nil, &negative{until: time.Now().Add(denialPeriod), err: fmt.Errorf("certmanager: %s: %w: %w", name, errImpossible, err)}
	}
	e := newEntry(s[0], onDemand)
	d.entry.Store(e)
	if d.forgotten.Load() {
		return nil, fmt.Errorf("certmanager: %s: %w", name, errForgotten)
	}
	r, err := copies{&ds.archive}.soon(ctx, e)
	if r != nil && time.Now().Before(r.End) {
		return ds.adoptStored(ctx, e, r) // what was obtained under an earlier answer serves also when there is none just now
	}
	if denied != nil && err == nil {
		return nil, denied
	}
	if err != nil {
		if certificate := ds.lend(ctx, e, err); certificate != nil {
			return certificate, nil
		}
		if denied != nil {
			return nil, denied
		}
		return nil, fmt.Errorf("certmanager: %s: %w", name, err)
	}
	if ds.role == RoleServe {
		return nil, &negative{until: time.Now().Add(awaitInterval), err: fmt.Errorf("certmanager: %s: %w", name, errServesOnly)}
	}
	if r == nil {
		if err := ds.admission.admitNew(e); err != nil {
			ds.turnedAway(ctx, name, err)
			return nil, err
		}
	}
	e.progress.loaded()
	certificate, err := ds.obtain(ctx, e)
	if err != nil {
		lapses{ds.obtainer, ds.admission}.add(e)
	}
	return certificate, err
}

// adoptStored puts a name that a client asks for under management with what the storage has.
func (ds *demands) adoptStored(ctx context.Context, e *entry, r *record.Certificate) (*tls.Certificate, error) {
	if !e.offer(r) {
		return nil, fmt.Errorf("certmanager: %v: %w", &e.subject, errForgotten)
	}
	ds.expectPoll(e, r)
	certificate := &e.served.Load().Certificate
	e.progress.loaded()
	ds.adoptUsed(e)
	ds.emit(ctx, ds.loading.toned(e, loadedEvent(e, r)))
	return certificate, nil
}

// lend puts a name that a client asks for under management with a copy, if there is one that has not expired.
func (ds *demands) lend(ctx context.Context, e *entry, cause error) *tls.Certificate {
	loader{ds.obtainer}.serveCopy(ctx, e, cause)
	s := e.served.Load()
	if s == nil || !time.Now().Before(s.end()) {
		return nil
	}
	ds.adoptUsed(e)
	return &s.Certificate
}

// adoptUsed puts an entry under management whose certificate a handshake is shown.
func (ds *demands) adoptUsed(e *entry) {
	e.roles.set(used)
	if ds.catalogue.adopt(e) {
		ds.update(slices.Collect(familyOf(e).all())...)
		ds.residents.add(e)
	}
}

// obtain has the dispatcher obtain a certificate for an entry that is not managed.
func (ds *demands) obtain(ctx context.Context, e *entry) (*tls.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, issueTimeout)
	defer cancel()
	e.roles.set(wanted)
	defer func() {
		e.roles.unset(wanted)
		ds.update(e)
	}()
	for {
		changed, waited := e.progress.wait()
		if e.roles.has(forgotten) {
			waited()
			return nil, fmt.Errorf("certmanager: %v: %w", &e.subject, errForgotten)
		}
		ds.update(e)
		select {
		case <-changed:
			waited()
		case <-ctx.Done():
			waited()
			if s := e.progress.snapshot(time.Now()); s.deferral != nil {
				return nil, s.ended(ctx.Err())
			}
			return nil, fmt.Errorf("certmanager: %v: it is not obtained in time: %w", &e.subject, ctx.Err())
		}
		if s := e.served.Load(); s != nil && time.Now().Before(s.end()) {
			return &s.Certificate, nil
		}
		s := e.progress.snapshot(time.Now())
		if err := s.setback(); err != nil {
			return nil, &negative{until: s.plan.Due, err: err, entry: e}
		}
	}
}
