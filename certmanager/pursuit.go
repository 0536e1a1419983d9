package certmanager

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/lifecycle"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/certmanager/internal/schedule"
)

const (
	revocationTimeout  = 5 * time.Minute // of one try
	besideRevocations  = 16              // that CAs are asked for at once: there may be many stored
	revocationInterval = time.Minute     // between tries to list those that are stored
	loudRevocations    = 3               // failures of one that are told as warnings
)

// A pursuit is a revocation that is tried until it is done.
type pursuit struct {
	record.Revocation
	key    string     // in the storage
	first  chan error // is sent what came of the first try; has room for it; nil: nobody waits
	failed int
}

// servePursuits pursues what is to be revoked, as is stored and as callers want, until ctx ends.
func (m *Manager) servePursuits(ctx context.Context, tasks *sync.WaitGroup) {
	tasks.Go(func() {
		for ctx.Err() == nil && !m.resumePursuits(ctx, tasks) {
			_ = pause(ctx, revocationInterval)
		}
	})
	for {
		select {
		case p := <-m.pursuits:
			tasks.Go(func() { m.pursue(ctx, p) })
		case <-ctx.Done():
			return
		}
	}
}

// resumePursuits pursues what is stored, and reports whether the storage has told all of it.
func (m *Manager) resumePursuits(ctx context.Context, tasks *sync.WaitGroup) bool {
	var found []*pursuit
	for key, err := range m.store.List(ctx, record.RevocationPrefix) {
		if err != nil {
			return false
		}
		item, err := m.store.Load(ctx, key)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return false
		}
		r, err := record.DecodeRevocation(item.Value)
		if err != nil {
			m.logger.LogAttrs(ctx, slog.LevelWarn, "the stored record "+key+" can't be used: what it wants revoked is not", slog.String("error", err.Error()))
			continue
		}
		found = append(found, &pursuit{Revocation: r, key: key})
	}
	for _, p := range found {
		tasks.Go(func() { m.pursue(ctx, p) })
	}
	return true
}

// pursue tries until the certificate is revoked or has ended, or ctx ends.
func (m *Manager) pursue(ctx context.Context, p *pursuit) {
	for ctx.Err() == nil {
		err := m.tryRevocation(ctx, p)
		ended := err != nil && hasEnded(p.Certificate)
		if err == nil || ended {
			deleted := attend(ctx, storeTimeout, func(ctx context.Context) error { return m.obtainer.archive.delete(ctx, p.key) })
			if err == nil {
				err = deleted
			}
		}
		event := Event{Kind: EventRevoked, Names: []string{record.FirstName(p.Subject)}, Issuer: p.Issuer, Serial: serialOf(p.Certificate)}
		if err != nil && ctx.Err() == nil {
			p.failed++
			event.Kind, event.Err, event.quiet = EventWarning, fmt.Errorf("certmanager: revoke %s: %w", p.Subject, err), p.failed > loudRevocations || errors.Is(err, errNotReplaced)
		}
		if err == nil || ctx.Err() == nil {
			m.emit(ctx, event)
		}
		if p.first != nil {
			p.first <- err
			p.first = nil
		}
		if err == nil || ended {
			return
		}
		_ = pause(ctx, schedule.TransientBackoff(p.failed, rand.Float64()))
	}
}

// hasEnded reports whether a certificate in DER has, or can't be parsed: there is nothing to be revoked.
func hasEnded(der []byte) bool {
	leaf, err := x509.ParseCertificate(der)
	return err != nil || time.Now().After(leaf.NotAfter)
}

// tryRevocation has the successor served, if there is to be one, and the certificate revoked.
func (m *Manager) tryRevocation(ctx context.Context, p *pursuit) error {
	revoker, err := m.revokerOf(p.Issuer)
	if err != nil {
		return err
	}
	if p.Replace {
		if err := m.replaceFirst(ctx, p); err != nil {
			return fmt.Errorf("its successor comes first: %w", err)
		}
	}
	select {
	case m.revoking <- struct{}{}:
		defer func() { <-m.revoking }()
	case <-ctx.Done():
		return ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, revocationTimeout)
	defer cancel()
	if p.Key.Signer == nil && p.Key.Reference != "" {
		p.Key.Signer, _ = m.obtainer.archive.keyring.open(ctx, p.Key.Reference) // without it the account can revoke
	}
	err = guard(ctx, m.logger, "Issuer.Revoke", func() error {
		return revoker.Revoke(ctx, Revocation{Certificate: p.Certificate, Key: p.Key.Signer, Reason: acme.RevocationReason(p.Reason)})
	})
	if err != nil || !p.Replace {
		return err
	}
	return m.removeRevoked(ctx, p)
}

// errNotReplaced is why a certificate is not revoked yet.
var errNotReplaced = errors.New("there is none yet")

// replaceFirst returns nil when the certificate has a successor that is stored, or is deleted.
func (m *Manager) replaceFirst(ctx context.Context, p *pursuit) error {
	e := m.catalogue.subject(p.Subject, p.KeyType)
	if e == nil {
		return m.isReplaced(ctx, p)
	}
	if !e.progress.isLoaded() {
		return errNotReplaced
	}
	if e.serves(p.Certificate) {
		if p.first == nil {
			e.progress.change((*lifecycle.State).Queue)
			m.dispatcher.Update(e)
		} else if err := m.replace(ctx, e); err != nil {
			return &cause{strings.TrimPrefix(err.Error(), "certmanager: "), err}
		}
	}
	switch {
	case e.serves(p.Certificate), e.roles.has(unkept):
		return errNotReplaced
	case e.held() == nil:
		return m.isReplaced(ctx, p)
	}
	return nil
}

// replace has the entry's certificate replaced at once, and returns what came of it.
func (m *Manager) replace(ctx context.Context, e *entry) error {
	done := e.progress.command()
	if e.roles.has(forgotten) {
		return errForgotten
	}
	m.dispatcher.Update(e)
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// isReplaced returns nil if the storage has a newer certificate of the subject, or none.
func (m *Manager) isReplaced(ctx context.Context, p *pursuit) error {
	var best *record.Certificate
	for _, issuer := range m.issuers {
		c, err := m.obtainer.archive.at(ctx, record.CertificateKey(issuer.ID(), p.Subject, p.KeyType))
		if err != nil {
			return err
		}
		if c != nil && c.NewerThan(best, time.Now()) {
			best = c
		}
	}
	if best != nil && bytes.Equal(best.Chain[0], p.Certificate) {
		return errNotReplaced
	}
	return nil
}

// removeRevoked deletes the record of a certificate that is revoked, if it is still there beside that of its successor, by
// another issuer.
func (m *Manager) removeRevoked(ctx context.Context, p *pursuit) error {
	return m.obtainer.archive.deleteThis(ctx, record.CertificateKey(p.Issuer, p.Subject, p.KeyType), p.Certificate)
}
