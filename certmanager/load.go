package certmanager

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/everseal/everseal/certmanager/internal/schedule"
	"github.com/everseal/everseal/storage"
)

// recordKey is the storage key of the certificate that the issuer signed for the subject.
func recordKey(issuer Issuer, s *subject) string {
	return "certificates/" + issuer.ID() + "/" + s.key()
}

// workKey is the storage key of the lease, and in it the journal, of the work on that certificate.
func workKey(issuer Issuer, s *subject) string { return "work/" + issuer.ID() + "/" + s.key() }

// probeStorage reports whether the storage can be written.
func (m *Manager) probeStorage(ctx context.Context) error {
	key := "probe/" + strings.ToLower(rand.Text())
	revision, err := m.store.Save(ctx, key, []byte("written to see whether it can be"), "")
	if err != nil {
		return err
	}
	return m.store.Delete(ctx, key, revision)
}

// logStorageWarnings logs what the storage has to say though it works, such as a [storage.Dir] that others can read.
func (m *Manager) logStorageWarnings(ctx context.Context) {
	s, ok := storage.As[interface {
		Warnings(ctx context.Context) []error
	}](m.store)
	if !ok {
		return
	}
	for _, warning := range s.Warnings(ctx) {
		m.logger.LogAttrs(ctx, slog.LevelWarn, "the storage works, but", slog.Any("warning", warning))
	}
}

// load reads what the storage has of the certificates, serves it, and puts into the queue when each is
// due next.
func (m *Manager) load(ctx context.Context, all []*managed) {
	var group errgroup.Group
	group.SetLimit(loading)
	// The index copies what a batch touches, so with more certificates the batches are larger.
	for batch := range slices.Chunk(all, max(64, len(all)/(2*loading))) {
		group.Go(func() error {
			m.loadBatch(ctx, batch)
			return nil
		})
	}
	_ = group.Wait()
}

func (m *Manager) loadBatch(ctx context.Context, batch []*managed) {
	var found []*managed
	for _, c := range batch {
		r, err := m.best(ctx, c)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			m.emit(ctx, Event{Kind: EventWarning, Names: c.names(), Err: fmt.Errorf("certmanager: %v: %w", &c.subject, err)})
		}
		if r != nil && c.offer(r) {
			found = append(found, c)
		}
	}
	m.publish(found)
	for _, c := range batch {
		action, next := ActionObtain, time.Now()
		if r := c.serving(); r != nil {
			action, next = ActionRenew, renewal(r)
			m.emit(ctx, loaded(c, r))
		}
		c.schedule(action, next)
		c.markLoaded()
		m.queue.Set(c, next)
	}
}

// loaded is the event of a certificate that was found in the storage and is served.
func loaded(c *managed, r *record) Event {
	return Event{Kind: EventLoaded, Names: c.names(), Issuer: r.meta.Issuer, Serial: r.serial, NotAfter: r.notAfter, Next: renewal(r)}
}

// publish puts what the certificates serve into the index, in one step, as far as they are under
// management.
func (m *Manager) publish(certificates []*managed) {
	if len(certificates) == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.index.PutAll(func(yield func(string, *tls.Certificate) bool) {
		for _, c := range certificates {
			certificate := c.serving().certificate()
			for _, id := range c.identifiers {
				if m.byName[id.Value] == c && !yield(id.Value, certificate) {
					return
				}
			}
		}
	})
}

// manages reports whether the certificate is under management: one on demand may not be yet, or no more.
func (m *Manager) manages(c *managed) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.byName[c.identifiers[0].Value] == c
}

// serve has handshakes served with r, if it is newer than what they are served with, and reports whether
// it is.
func (m *Manager) serve(c *managed, r *record) bool {
	if !c.offer(r) {
		return false
	}
	m.publish([]*managed{c})
	return true
}

// best returns the newest certificate that the storage has for c, of any issuer, or nil.
func (m *Manager) best(ctx context.Context, c *managed) (*record, error) {
	var best *record
	var failure error
	for _, issuer := range m.issuers {
		r, err := m.loadRecord(ctx, issuer, &c.subject)
		if err != nil {
			failure = err
		}
		if r != nil && r.newerThan(best) {
			best = r
		}
	}
	return best, failure
}

// loadRecord returns the stored certificate, or nil if there is none that can be used. One that is
// broken is copied aside first.
func (m *Manager) loadRecord(ctx context.Context, issuer Issuer, s *subject) (*record, error) {
	key := recordKey(issuer, s)
	item, err := m.store.Load(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("load the certificate: %w", err)
	}
	r, err := m.decodeRecord(item.Value, s)
	if err != nil {
		return nil, m.setAside(ctx, key, item.Value, Event{Names: s.names(), Issuer: issuer.ID(), Err: err})
	}
	return r, nil
}

// setAside keeps a copy of a record that can't be used, for whoever wants to know, and reports it. Where
// it fails, the record must not be replaced.
func (m *Manager) setAside(ctx context.Context, key string, value []byte, e Event) error {
	sum := sha256.Sum256(value)
	aside := "corrupt/" + hex.EncodeToString(sum[:8]) + "/" + key
	_, err := m.store.Save(ctx, aside, value, "")
	if errors.Is(err, storage.ErrConflict) {
		return nil // kept and reported before
	}
	e.Kind, e.Err = EventCorrupt, fmt.Errorf("certmanager: the stored record %s can't be used (a copy is kept at %s): %w", key, aside, e.Err)
	if err != nil {
		return fmt.Errorf("%w; and the copy can't be kept: %w", e.Err, err)
	}
	m.emit(ctx, e)
	return nil
}

// renewal returns when the certificate is due for renewal. The instant is spread by the certificate's
// own hash: every process finds the same one, and nothing needs to be stored.
func renewal(r *record) time.Time {
	sum := sha256.Sum256(r.chain[0])
	spread := float64(binary.BigEndian.Uint64(sum[:8])>>11) / (1 << 53)
	return schedule.Renewal(r.notBefore, r.notAfter, spread)
}
