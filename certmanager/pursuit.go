package certmanager

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/lifecycle"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/certmanager/internal/schedule"
)

const (
	revocationTimeout = 5 * time.Minute // of one try
	loudRevocations   = 3               // failures of one that are told as warnings
)

// A pursuit is a stored revocation that is tried until it is done.
type pursuit struct {
	all               *pursuits
	record.Revocation        // as the last try has read it
	key               string // in the storage
	tries             int    // with the one under way; the others have failed

	waiting []chan<- error // callers, for the next try; guarded by pursuits.mu
	wanted  chan struct{}  // has room for one: some wait
}

// run tries until the certificate is revoked or has ended, or ctx ends.
func (p *pursuit) run(ctx context.Context) {
	for {
		callers := p.all.callers(p)
		done, err := p.try(ctx, len(callers) > 0)
		runEnds := ctx.Err() != nil
		if done || !runEnds { // else they are told that Run has ended
			for _, caller := range callers {
				caller <- err
			}
		}
		if (done || runEnds) && p.all.leave(p, runEnds) {
			return
		}
		if !done {
			p.awaitRetry(ctx)
		}
	}
}

// awaitRetry returns when the next try is due, or a caller waits for it.
func (p *pursuit) awaitRetry(ctx context.Context) {
	due := time.NewTimer(schedule.TransientBackoff(p.tries, rand.Float64()))
	defer due.Stop()
	select {
	case <-due.C:
	case <-p.wanted:
	case <-ctx.Done():
	}
}

// try reports whether nothing is left to be done: the certificate is revoked or has ended, or is not to be revoked any
// more, as the storage says. The error is what came of this try.
func (p *pursuit) try(ctx context.Context, awaited bool) (done bool, err error) {
	p.tries++
	if done, err = p.read(ctx); done || err != nil {
		return done, err
	}
	err = p.revoke(ctx, awaited)
	if done = err == nil || hasEnded(p.Certificate); done {
		deleted := attend(ctx, storeTimeout, func(ctx context.Context) error { return deletion{p.all.archive}.delete(ctx, p.key) })
		if err == nil {
			done, err = deleted == nil, deleted
		}
	}
	event := Event{Kind: EventRevoked, Names: []string{record.FirstName(p.Subject)}, Issuer: p.Issuer, Serial: serialOf(p.Certificate)}
	if err != nil {
		event.Kind, event.Err, event.quiet = EventWarning, fmt.Errorf("certmanager: revoke %s: %w", p.Subject, err), p.tries > loudRevocations || errors.Is(err, errNotReplaced)
	}
	if err == nil || ctx.Err() == nil {
		p.all.emit(ctx, event)
	}
	return done, err
}

// read reads what is to be revoked. Nothing is if the record is gone, because somebody else was faster, or can't be used.
func (p *pursuit) read(ctx context.Context) (done bool, err error) {
	select {
	case p.all.reading <- struct{}{}:
		defer func() { <-p.all.reading }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	item, err := storedAt(ctx, p.all.archive.store, p.key)
	if err != nil || item.Revision == "" {
		return err == nil, err
	}
	if p.Revocation, err = record.DecodeRevocation(item.Value); err != nil {
		p.all.logger.LogAttrs(ctx, slog.LevelWarn, "the stored record "+p.key+" can't be used: what it wants revoked is not", slog.String("error", err.Error()))
		return true, err
	}
	return false, nil
}

// hasEnded reports whether a certificate in DER has, or can't be parsed: there is nothing to be revoked.
func hasEnded(der []byte) bool {
	leaf, err := x509.ParseCertificate(der)
	return err != nil || time.Now().After(leaf.NotAfter)
}

// revoke has the successor served, if there is to be one, and the certificate revoked.
func (p *pursuit) revoke(ctx context.Context, awaited bool) error {
	revoker, err := revokerOf(p.all.archive.issuers, p.Issuer)
	if err != nil {
		return err
	}
	if p.Replace {
		if err := p.replaceFirst(ctx, awaited); err != nil {
			return fmt.Errorf("its successor comes first: %w", err)
		}
	}
	select {
	case p.all.revoking <- struct{}{}:
		defer func() { <-p.all.revoking }()
	case <-ctx.Done():
		return ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, revocationTimeout)
	defer cancel()
	if p.Key.Signer == nil && p.Key.Reference != "" {
		p.Key.Signer, _ = p.all.archive.keyring.open(ctx, p.Key.Reference) // without it the account can revoke
	}
	err = guard(ctx, p.all.logger, "Issuer.Revoke", func() error {
		return revoker.Revoke(ctx, Revocation{Certificate: p.Certificate, Key: p.Key.Signer, Reason: acme.RevocationReason(p.Reason)})
	})
	if err != nil || !p.Replace {
		return err
	}
	return p.removeRevoked(ctx)
}

// errNotReplaced is why a certificate is not revoked yet.
var errNotReplaced = errors.New("there is none yet")

// replaceFirst returns nil when the certificate has a successor that is stored, or is deleted. If a caller waits it waits for
// the successor too.
func (p *pursuit) replaceFirst(ctx context.Context, awaited bool) error {
	e := p.all.catalogue.subject(p.Subject, p.KeyType)
	if e == nil {
		return p.isReplaced(ctx)
	}
	if err := awaitLoaded(ctx, e, nil); err != nil {
		return err
	}
	if e.serves(p.Certificate) {
		if !awaited {
			e.progress.change((*lifecycle.State).Queue)
			p.all.update(e)
		} else if err := p.replace(ctx, e); err != nil {
			return &cause{strings.TrimPrefix(err.Error(), "certmanager: "), err}
		}
	}
	switch {
	case e.serves(p.Certificate), e.roles.has(unstored):
		return errNotReplaced
	case e.held() == nil:
		return p.isReplaced(ctx)
	}
	return nil
}

// replace has the entry's certificate replaced at once, and returns what came of it.
func (p *pursuit) replace(ctx context.Context, e *entry) error {
	done := e.progress.command()
	if e.roles.has(forgotten) {
		return errForgotten
	}
	p.all.update(e)
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// isReplaced returns nil if the storage has a newer certificate of the subject, or none.
func (p *pursuit) isReplaced(ctx context.Context) error {
	var best *record.Certificate
	for _, issuer := range p.all.archive.issuers {
		c, err := p.all.archive.at(ctx, record.CertificateKey(issuer.ID(), p.Subject, p.KeyType))
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
func (p *pursuit) removeRevoked(ctx context.Context) error {
	return deletion{p.all.archive}.deleteThis(ctx, record.CertificateKey(p.Issuer, p.Subject, p.KeyType), p.Certificate)
}
