package certmanager

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/everseal/everseal/acme"
)

// Bounds of the work for handshakes that wait.
const (
	mostDemands       = 1000             // names at once
	mostWaiting       = 10000            // handshakes at once
	demandsAtWork     = 64               // names being obtained at once; the others wait for their turn
	handshakePatience = 90 * time.Second // of one handshake
	policyTime        = 30 * time.Second // for one answer of Config.OnDemand
	denialTime        = time.Minute      // for which a denial is remembered
)

// A demand is the work on one name that handshakes wait for. It belongs to the manager: the handshake
// that began it may end.
type demand struct {
	name        string
	done        chan struct{}    // closed when what follows is set
	certificate *tls.Certificate // nil: err says why
	err         error
}

// onDemand returns a certificate for a name that is not managed, if that is allowed and can be had in
// the time that the handshake has.
func (m *Manager) onDemand(ctx context.Context, name string) (*tls.Certificate, error) {
	id, err := acme.ParseIdentifier(name)
	if err != nil || id.Type != acme.TypeDNS || id.Value != name || !strings.Contains(name, ".") || strings.HasPrefix(name, "*.") {
		return nil, fmt.Errorf("certmanager: %.100q is no name that a certificate can be obtained for on demand", name)
	}
	d, err := m.demandFor(name)
	if err != nil {
		return nil, err
	}
	defer m.leave()
	if err := waitHandshake(ctx, name, d.done, nil); err != nil {
		return nil, err
	}
	return d.certificate, d.err
}

// waitHandshake returns nil when done is closed, or an error when the handshake for the name has waited long
// enough or has ended, or the manager has stopped. A ClientHelloInfo that crypto/tls did not make has
// no context.
func waitHandshake(ctx context.Context, name string, done, stopped <-chan struct{}) error {
	var ended <-chan struct{}
	if ctx != nil {
		ended = ctx.Done()
	}
	patience := time.NewTimer(handshakePatience)
	defer patience.Stop()
	select {
	case <-done:
		return nil
	case <-patience.C:
		return fmt.Errorf("certmanager: %.100q has no certificate yet: it is being obtained", name)
	case <-stopped:
		return fmt.Errorf("certmanager: %.100q has no certificate: %w", name, errNotRunning)
	case <-ended:
		return fmt.Errorf("certmanager: %.100q has no certificate yet: the client went away: %w", name, ctx.Err())
	}
}

// demandFor returns the work on the name, and begins it if there is none.
func (m *Manager) demandFor(name string) (*demand, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped == nil {
		return nil, fmt.Errorf("certmanager: %s has no certificate: %w", name, errNotRunning)
	}
	if err := m.refused.find(name, time.Now()); err != nil {
		return nil, err
	}
	d := m.demand[name]
	if d == nil && len(m.demand) >= mostDemands || !m.enter() {
		return nil, fmt.Errorf("certmanager: %s has no certificate, and too many others are being obtained at the moment", name)
	}
	if d == nil {
		d = &demand{name: name, done: make(chan struct{})}
		m.demand[name] = d
		m.demands <- d // has room for mostDemands
	}
	return d, nil
}

// enter counts a handshake that is going to wait, if there are not too many. The caller holds m.mu.
func (m *Manager) enter() bool {
	if m.waiting >= mostWaiting {
		return false
	}
	m.waiting++
	return true
}

// leave is for a handshake that has waited.
func (m *Manager) leave() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waiting--
}

// serveDemands works on what handshakes wait for, until ctx ends.
func (m *Manager) serveDemands(ctx context.Context, tasks *sync.WaitGroup) {
	slots := make(chan struct{}, demandsAtWork)
	for {
		select {
		case d := <-m.demands:
			tasks.Go(func() {
				certificate, err := m.satisfy(ctx, d.name, slots)
				m.finish(d, certificate, err)
			})
		case <-ctx.Done():
			return
		}
	}
}

// finish tells the waiting handshakes the outcome.
func (m *Manager) finish(d *demand, certificate *tls.Certificate, err error) {
	m.mu.Lock()
	delete(m.demand, d.name)
	var refusal *refusal
	if errors.As(err, &refusal) {
		m.refused.add(d.name, refusal, time.Now())
	}
	m.mu.Unlock()
	d.certificate, d.err = certificate, err
	close(d.done)
}

// endDemands fails what Run leaves undone.
func (m *Manager) endDemands() {
	for {
		select {
		case d := <-m.demands:
			m.finish(d, nil, fmt.Errorf("certmanager: %s has no certificate: %w", d.name, errNotRunning))
		default:
			return
		}
	}
}

// satisfy asks whether the name may have a certificate, and loads or obtains it.
func (m *Manager) satisfy(ctx context.Context, name string, slots chan struct{}) (*tls.Certificate, error) {
	denied := m.ask(ctx, name)
	if denied != nil {
		denied = fmt.Errorf("certmanager: %s: %w", name, denied)
	}
	if errors.Is(denied, ErrDenied) {
		return nil, &refusal{until: time.Now().Add(denialTime), err: denied}
	}
	s, err := m.config.normalize([]Subject{{Names: []string{name}}})
	if err != nil {
		return nil, err
	}
	c := newManaged(s[0])
	c.wanted = true
	r, err := m.best(ctx, c)
	if r != nil && time.Now().Before(r.notAfter) {
		// What was obtained under an earlier answer serves also when there is none just now.
		c.offer(r)
		m.adopt(c)
		m.emit(ctx, loaded(c, r))
		return r.certificate(), nil
	}
	if denied != nil {
		return nil, denied
	}
	if err != nil {
		return nil, err
	}
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := m.attempt(ctx, c); err != nil {
		status := c.status(time.Now())
		return nil, &refusal{until: status.Next, err: err}
	}
	return c.serving().certificate(), nil
}

// adopt puts a certificate obtained on demand under management, unless its name has come to be
// configured meanwhile.
func (m *Manager) adopt(c *managed) {
	name, next := c.identifiers[0].Value, renewal(c.serving())
	m.mu.Lock()
	_, known := m.byName[name]
	if !known {
		m.byName[name] = c
	}
	m.mu.Unlock()
	if known {
		return
	}
	m.publish([]*managed{c})
	c.schedule(ActionRenew, next)
	m.queue.Set(c, next)
}

// forget ends the management of a certificate.
func (m *Manager) forget(c *managed) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range c.names() {
		if m.byName[name] == c {
			delete(m.byName, name)
			m.index.Delete(name)
		}
	}
	m.queue.Remove(c)
}

// ask asks Config.OnDemand about the name.
func (m *Manager) ask(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, policyTime)
	defer cancel()
	return m.guard(ctx, "Config.OnDemand", func() error {
		if err := m.config.OnDemand(ctx, name); err != nil {
			return fmt.Errorf("Config.OnDemand: %w", err)
		}
		return nil
	})
}
