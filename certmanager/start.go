package certmanager

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
)

const (
	minScanned    = 1000        // entries whose certificates are read in one go rather than one by one, if the storage can
	probeInterval = time.Minute // between two attempts to write to a storage that can't be written
)

// start has all entries loaded, but those that Load has just loaded, and then obtained or renewed as they are due.
func (m *Manager) start(ctx context.Context) {
	entries := slices.Collect(m.catalogue.all())
	if !m.isWarm() {
		for _, e := range entries {
			e.unload()
		}
	}
	unloaded := unloadedOf(entries)
	o := &m.obtainer
	o.loading.begin(len(unloaded))
	var watch sync.WaitGroup
	defer watch.Wait()
	watch.Go(func() { o.loading.watch(ctx, o.logger) })
	if m.scans(unloaded) && o.scan(ctx, unloaded) {
		for _, e := range unloaded {
			o.loaded(ctx, e)
		}
	}
	m.dispatcher.Update(entries...)
}

// scans reports whether the entries are so many that they are read in one go, which the storage has to be able to.
func (m *Manager) scans(entries []*entry) bool {
	_, can := storage.As[storage.Scanner](m.store)
	return can && len(entries) >= minScanned
}

func unloadedOf(entries []*entry) []*entry {
	return slices.DeleteFunc(slices.Clone(entries), (*entry).isLoaded)
}

// scan reads all certificates that the storage has in one go, and reports whether that is done: else they are to be
// loaded one by one, as is what a handshake waits for meanwhile.
func (o *obtainer) scan(ctx context.Context, entries []*entry) bool {
	bySubject := make(map[string]*entry, len(entries))
	for _, e := range entries {
		bySubject[e.key()] = e
	}
	for _, issuer := range o.issuers {
		if !o.scanIssuer(ctx, issuer, bySubject) {
			return false
		}
	}
	return true
}

func (o *obtainer) scanIssuer(ctx context.Context, issuer *gatedIssuer, bySubject map[string]*entry) bool {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	hangs := time.AfterFunc(storageTimeout, func() { cancel(errSlowStorage) })
	defer hangs.Stop()
	prefix, records := record.CertificatePrefix(issuer.ID()), make(chan storage.Record, 64)
	var decoders sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		decoders.Go(func() {
			for item := range records {
				if e := bySubject[strings.TrimPrefix(item.Key, prefix+"/")]; e != nil {
					o.found(ctx, e, item)
				}
			}
		})
	}
	defer decoders.Wait()
	defer close(records)
	for item, err := range storage.Scan(ctx, o.store, prefix, "") {
		switch {
		case err == nil:
			records <- item
			hangs.Reset(storageTimeout)
		case item.Key == "":
			o.logger.LogAttrs(ctx, slog.LevelWarn, "the storage can't be scanned: certificates are loaded one by one", slog.String("error", slowStorage(ctx, err).Error()))
			return false
		}
	}
	return ctx.Err() == nil
}

// found serves a record that the scan came upon. What can't be used is dealt with when its turn comes.
func (o *obtainer) found(ctx context.Context, e *entry, item storage.Record) {
	o.loading.found()
	if r, err := o.decode(item.Value, &e.subject); err == nil && o.serve(e, r) {
		o.emit(ctx, o.loading.toned(loadedEvent(e, r)))
	}
}

// A writability says whether the storage can be written. Nothing is ordered before that is known.
type writability struct {
	mu    sync.Mutex
	known chan struct{} // closed when it is; nil before the first begin
	err   error         // why it can't be written
	until time.Time     // when the next attempt is due
}

// begin makes it unknown.
func (w *writability) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.known = make(chan struct{})
}

// set says why the storage can't be written, and when the next attempt is due; nil: it can.
func (w *writability) set(err error, until time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err, w.until = err, until
	select {
	case <-w.known:
	default:
		close(w.known)
	}
}

// check waits until it is known whether the storage can be written, and returns why it can't and when to ask again.
func (w *writability) check(ctx context.Context) (until time.Time, err error) {
	w.mu.Lock()
	known := w.known
	w.mu.Unlock()
	select {
	case <-known:
	case <-ctx.Done():
		return time.Now(), ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.until, w.err
}

// probe finds out whether the storage can be written, until it can or ctx ends. It returns an error if it can't, and
// has nothing that could be served.
func (m *Manager) probe(ctx context.Context) error {
	for n := 0; ; n++ {
		err := m.probeStorage(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			m.obtainer.writable.set(nil, time.Time{})
			m.obtainer.troubles.of(ReasonStorage, "").reset()
			if n > 0 {
				m.logger.LogAttrs(ctx, slog.LevelInfo, "the storage can be used: certificates are obtained and renewed")
			}
			m.logStorageWarnings(ctx)
			return nil
		}
		err = fmt.Errorf("certmanager: the storage can't be used, and what can't be kept would be lost: set Config.Storage to one that can: %w", err)
		if n == 0 && !m.servesSomething(ctx) {
			return err
		}
		if told, _ := m.obtainer.troubles.of(ReasonStorage, "").tell(time.Now()); told {
			m.logger.LogAttrs(ctx, slog.LevelError, "what is stored is served, but nothing is obtained or renewed", slog.String("error", err.Error()))
		}
		m.obtainer.writable.set(storageError{err}, time.Now().Add(probeInterval))
		select {
		case <-time.After(probeInterval):
		case <-ctx.Done():
			return nil
		}
	}
}

// servesSomething reports whether the storage has a certificate that can be served.
func (m *Manager) servesSomething(ctx context.Context) bool {
	const sideBySide = 64
	found := errors.New("there is one")
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(sideBySide)
	for e := range m.catalogue.all() {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			if r, err := m.obtainer.best(ctx, e); err == nil && r != nil {
				m.obtainer.serve(e, r)
			}
			if e.served.Load() != nil {
				return found
			}
			return nil
		})
	}
	return errors.Is(group.Wait(), found)
}

// probeStorage reports whether the storage can be written.
func (m *Manager) probeStorage(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, storageTimeout, errSlowStorage)
	defer cancel()
	key := "probe/" + strings.ToLower(rand.Text())
	revision, err := m.store.Save(ctx, key, []byte("written to see whether it can be"), "")
	if err == nil {
		err = m.store.Delete(ctx, key, revision)
	}
	if err != nil {
		return slowStorage(ctx, err)
	}
	return nil
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
