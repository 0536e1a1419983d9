package certmanager

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/record"
)

// errImpossible is why no certificate is obtained for a name.
var errImpossible = errors.New("it is no name that a certificate can be obtained for on demand")

// onDemand returns a certificate for a name that is not managed, if that is allowed and can be had in
// the time that the handshake has; nil, nil if it is not allowed, so that the client is told that the name is not
// recognized.
func (m *Manager) onDemand(hello *tls.ClientHelloInfo, name string) (*tls.Certificate, error) {
	ctx := hello.Context()
	id, err := acme.ParseIdentifier(name)
	if err != nil || id.Type != acme.TypeDNS || id.Value != name || !strings.Contains(name, ".") || strings.HasPrefix(name, "*.") {
		m.obtainer.turnedAway(ctx, fmt.Sprintf("%.100q", name), errImpossible)
		return nil, nil
	}
	if m.running() == nil {
		return nil, fmt.Errorf("certmanager: %s has no certificate: %w", name, errNotRunning)
	}
	d, err := m.admission.demand(name, remoteAddress(hello.Conn))
	if err != nil {
		return nil, unlessDenied(err)
	}
	defer m.admission.leave()
	if m.running() == nil { // it has ended, and what was left of the work with it
		return nil, fmt.Errorf("certmanager: %s has no certificate: %w", name, errNotRunning)
	}
	if other, _ := m.fallBack(hello); other != nil {
		return other, errFellBack // while ours is obtained
	}
	if err := waitHandshake(ctx, name, d.done, nil); err != nil {
		if e := d.entry.Load(); e != nil && (ctx == nil || ctx.Err() == nil) {
			s := e.progress.snapshot(time.Now())
			err = s.unavailable(name)
		}
		return nil, err
	}
	return d.certificate, unlessDenied(d.err)
}

// unlessDenied returns the error, or nil if it is that the name is not to have a certificate, which is no failure: the log
// has said why.
func unlessDenied(err error) error {
	if errors.Is(err, ErrDenied) || errors.Is(err, errCapped) || errors.Is(err, errImpossible) {
		return nil
	}
	return err
}

// waitHandshake returns nil when done is closed, or an error when the handshake for the name has waited long
// enough or has ended, or the manager has stopped. A ClientHelloInfo that crypto/tls did not make has
// no context.
func waitHandshake(ctx context.Context, name string, done, stopped <-chan struct{}) error {
	var ended <-chan struct{}
	if ctx != nil {
		ended = ctx.Done()
	}
	timeout := time.NewTimer(handshakeTimeout)
	defer timeout.Stop()
	select {
	case <-done:
		return nil
	case <-timeout.C:
		return fmt.Errorf("certmanager: %.100q has no certificate yet: it is being obtained", name)
	case <-stopped:
		return fmt.Errorf("certmanager: %.100q has no certificate: %w", name, errNotRunning)
	case <-ended:
		return fmt.Errorf("certmanager: %.100q has no certificate yet: the client went away: %w", name, ctx.Err())
	}
}

// serveDemands works on what handshakes wait for, until ctx ends.
func (m *Manager) serveDemands(ctx context.Context, tasks *sync.WaitGroup) {
	for {
		select {
		case d := <-m.admission.demands:
			tasks.Go(func() {
				certificate, err := m.satisfy(ctx, d)
				m.admission.finish(d, certificate, err)
			})
		case <-ctx.Done():
			return
		}
	}
}

// satisfy asks whether the name may have a certificate, and loads or obtains it.
func (m *Manager) satisfy(ctx context.Context, d *demand) (*tls.Certificate, error) {
	name := d.name
	denied := m.askPolicy(ctx, Question{Name: name, Remote: d.remote})
	if denied != nil {
		m.obtainer.turnedAway(ctx, name, denied)
		denied = fmt.Errorf("certmanager: %s: %w", name, denied)
	}
	if errors.Is(denied, ErrDenied) {
		return nil, &negative{until: time.Now().Add(denialPeriod), err: denied}
	}
	s, err := m.normalized(Subject{Names: []string{name}})
	if err != nil {
		m.obtainer.turnedAway(ctx, name, err)
		return nil, &negative{until: time.Now().Add(denialPeriod), err: fmt.Errorf("certmanager: %s: %w: %w", name, errImpossible, err)}
	}
	e := newEntry(s[0], onDemand)
	d.entry.Store(e)
	if d.forgotten.Load() {
		return nil, fmt.Errorf("certmanager: %s: %w", name, errForgotten)
	}
	r, err := copies{&m.obtainer.archive}.soon(ctx, e)
	if r != nil && time.Now().Before(r.End) {
		return m.adoptStored(ctx, e, r) // what was obtained under an earlier answer serves also when there is none just now
	}
	if denied != nil && err == nil {
		return nil, denied
	}
	if err != nil {
		if certificate := m.lendOnDemand(ctx, e, err); certificate != nil {
			return certificate, nil
		}
		if denied != nil {
			return nil, denied
		}
		return nil, fmt.Errorf("certmanager: %s: %w", name, err)
	}
	if m.config.Role == RoleServe {
		return nil, &negative{until: time.Now().Add(awaitInterval), err: fmt.Errorf("certmanager: %s: %w", name, errServesOnly)}
	}
	if r == nil {
		if err := m.admission.admitNew(e); err != nil {
			m.obtainer.turnedAway(ctx, name, err)
			return nil, err
		}
	}
	e.progress.loaded()
	certificate, err := m.obtain(ctx, e)
	if err != nil {
		m.lapse(e)
	}
	return certificate, err
}

// adoptStored puts a name that a client asks for under management with what the storage has.
func (m *Manager) adoptStored(ctx context.Context, e *entry, r *record.Certificate) (*tls.Certificate, error) {
	if !e.offer(r) {
		return nil, fmt.Errorf("certmanager: %v: %w", &e.subject, errForgotten)
	}
	m.obtainer.expectPoll(e, r)
	certificate := &e.served.Load().Certificate
	e.progress.loaded()
	m.adoptUsed(e)
	m.emit(ctx, m.obtainer.loading.toned(e, loadedEvent(e, r)))
	return certificate, nil
}

// adoptUsed puts an entry under management whose certificate a handshake is shown.
func (m *Manager) adoptUsed(e *entry) {
	e.roles.set(used)
	if m.catalogue.adopt(e) {
		m.dispatcher.Update(slices.Collect(familyOf(e).all())...)
		m.obtainer.residents.add(e)
	}
}

// obtain has the dispatcher obtain a certificate for an entry that is not managed.
func (m *Manager) obtain(ctx context.Context, e *entry) (*tls.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, issueTimeout)
	defer cancel()
	e.roles.set(wanted)
	defer func() {
		e.roles.unset(wanted)
		m.dispatcher.Update(e)
	}()
	for {
		changed, waited := e.progress.wait()
		if e.roles.has(forgotten) {
			waited()
			return nil, fmt.Errorf("certmanager: %v: %w", &e.subject, errForgotten)
		}
		m.dispatcher.Update(e)
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
