package certmanager

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/lifecycle"
)

// Handshakes are answered here when memory has no certificate ready for them: they wait for one, or get another.
type handshakes struct {
	*obtainer
	admission   *admission
	recalls     *recalls
	fallback    *fallback
	running     func() <-chan struct{} // of Manager
	defaultName string
}

// missing finds a certificate, or the reason why there is none, when the name as the client sent it has none ready, or one
// that was not asked for lately or may have expired. The front is that of the name, or nil.
func (h *handshakes) missing(hello *tls.ClientHelloInfo, f *front) (*tls.Certificate, error) {
	name := hello.ServerName
	if name == "" {
		return h.unnamed(hello)
	}
	if lower := lowerASCII(name); lower != name {
		name, f = lower, h.catalogue.front(lower)
	}
	if serving := h.catalogue.serving(name); serving != nil {
		if chosen := familyOf(serving).choose(hello); chosen != nil {
			return h.present(hello, name, chosen)
		}
	}
	if f != nil {
		return h.pending(hello, name, f.entry)
	}
	if h.policy.decide == nil {
		return nil, nil
	}
	return h.demand(hello, name)
}

// unnamed finds a certificate for a client that names none: that of the address it called, or the
// default one.
func (h *handshakes) unnamed(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	for _, name := range []string{localAddress(hello.Conn), h.defaultName} {
		e := h.catalogue.lookup(name)
		if chosen := familyOf(e).choose(hello); chosen != nil {
			return h.present(hello, name, chosen)
		}
		if e != nil {
			return h.pending(hello, name, e)
		}
	}
	return nil, nil
}

// pending is for a managed name whose certificate is not in memory. While Run is starting it has it loaded, and waits
// for that; then it returns the certificate, or says why there is none.
func (h *handshakes) pending(hello *tls.ClientHelloInfo, name string, e *entry) (*tls.Certificate, error) {
	stopped, unloaded := h.running(), familyOf(e).unloadedFor(hello)
	switch {
	case stopped == nil && familyOf(e).ready() == nil:
		return nil, fmt.Errorf("certmanager: %.100q has no certificate: %w", name, errNotRunning)
	case stopped == nil, unloaded == nil:
	case !h.admission.enter():
		return nil, fmt.Errorf("certmanager: %.100q has no certificate yet, and too many others wait for theirs", name)
	default:
		defer h.admission.leave()
		changed, waited := unloaded.progress.wait()
		defer waited()
		if unloaded.roles.has(forgotten) {
			return nil, fmt.Errorf("certmanager: %.100q: %w", name, errForgotten)
		}
		h.update(unloaded)
		if err := waitHandshake(hello.Context(), name, changed, stopped); err != nil {
			return nil, err
		}
	}
	if chosen := familyOf(e).choose(hello); chosen != nil {
		return h.present(hello, name, chosen)
	}
	if ready := familyOf(e).ready(); ready != nil {
		return h.present(hello, name, ready) // which the client does not understand: crypto/tls tells it so
	}
	s := e.progress.snapshot(time.Now())
	return nil, s.unavailable(name)
}

// present returns the certificate of an entry that has one, in memory or in the storage.
func (h *handshakes) present(hello *tls.ClientHelloInfo, name string, e *entry) (*tls.Certificate, error) {
	e.roles.set(used)
	e.roles.unset(surveyed)
	if e.roles.has(gone) {
		h.comeBack(e)
	}
	s := e.served.Load()
	if s != nil && (!e.roles.has(late) || time.Now().Before(s.end())) {
		return &s.Certificate, nil
	}
	patience := recallTimeout
	if s != nil {
		patience = expiredPatience
	}
	found, err := h.recalls.await(hello.Context(), e, patience)
	switch {
	case found != nil:
		return &found.Certificate, nil
	case s != nil:
		return &s.Certificate, nil
	}
	return nil, fmt.Errorf("certmanager: %.100q has a certificate, but it can't be read from the storage: %w", name, err)
}

// demand returns a certificate for a name that is not managed, if that is allowed and can be had in
// the time that the handshake has; nil, nil if it is not allowed, so that the client is told that the name is not
// recognized.
func (h *handshakes) demand(hello *tls.ClientHelloInfo, name string) (*tls.Certificate, error) {
	ctx := hello.Context()
	id, err := acme.ParseIdentifier(name)
	if err != nil || id.Type != acme.TypeDNS || id.Value != name || !strings.Contains(name, ".") || strings.HasPrefix(name, "*.") {
		h.turnedAway(ctx, fmt.Sprintf("%.100q", name), errImpossible)
		return nil, nil
	}
	if h.running() == nil {
		return nil, fmt.Errorf("certmanager: %s has no certificate: %w", name, errNotRunning)
	}
	d, err := h.admission.demand(name, remoteAddress(hello.Conn))
	if err != nil {
		return nil, unlessDenied(err)
	}
	defer h.admission.leave()
	if h.running() == nil { // it has ended, and what was left of the work with it
		return nil, fmt.Errorf("certmanager: %s has no certificate: %w", name, errNotRunning)
	}
	if other, _ := h.fallback.certificateFor(hello); other != nil {
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

// comeBack has a name renewed that was gone, for a client asks for it.
func (h *handshakes) comeBack(e *entry) {
	e.roles.set(recalled)
	e.roles.unset(gone)
	e.progress.change((*lifecycle.State).Hasten)
	h.update(e)
}
