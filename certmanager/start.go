package certmanager

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/everseal/everseal/storage"
)

const (
	minScanned    = 1000        // entries whose certificates are read in one go rather than one by one, if the storage can
	probeInterval = time.Minute // between two attempts to write to a storage that can't be written
	firstProbes   = 5           // at once, before a storage counts as one

	probePrefix = "probe" // of the keys at which it is written
	probeText   = "written to see whether it can be"
)

// start has all entries loaded, but those that Load has just loaded, and then obtained or renewed as they are due: in an order
// of this member's own. Those of a fleet that start together do not all come to the same certificate together.
func (m *Manager) start(ctx context.Context) {
	o, entries := &m.obtainer, slices.Collect(m.catalogue.all())
	unloaded := slices.DeleteFunc(slices.Clone(entries), func(e *entry) bool { return !awaitsStart(e) })
	o.loading.count(len(unloaded))
	var watch sync.WaitGroup
	defer watch.Wait()
	watch.Go(func() { o.loading.watch(ctx, o.logger) })
	if m.scans(unloaded) {
		loader{o}.scan(ctx, unloaded)
	}
	m.dispatcher.Update(entries...)
}

// awaitsStart notes that the entry is to be loaded, unless it is, and reports that.
func awaitsStart(e *entry) bool {
	e.progress.mu.Lock()
	defer e.progress.mu.Unlock()
	waits := !e.progress.state.Loaded()
	e.roles.put(starting, waits)
	return waits
}

// scans reports whether the entries are so many that they are read in one go, which the storage has to be able to.
func (m *Manager) scans(entries []*entry) bool {
	_, can := storage.As[storage.Scanner](m.store)
	return can && len(entries) >= minScanned
}

func unloadedOf(entries []*entry) []*entry {
	return slices.DeleteFunc(slices.Clone(entries), func(e *entry) bool { return e.progress.isLoaded() })
}

// probe finds out whether the storage can be written, until it can or ctx ends. It returns an error if it can't, and
// has nothing that could be served.
func (m *Manager) probe(ctx context.Context) error {
	if m.config.Role == RoleServe {
		return nil // it is not written
	}
	for n := 0; ; n++ {
		err := m.probeStorage(ctx)
		for tries := 1; err != nil && n == 0 && tries < firstProbes && ctx.Err() == nil; tries++ {
			err = m.probeStorage(ctx) // one failing call ends no Run
		}
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			m.obtainer.writable.set(nil, time.Time{})
			m.obtainer.common.of(ReasonStorage, "").reset()
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
		if told, _ := m.obtainer.common.of(ReasonStorage, "").tell(time.Now()); told {
			m.logger.LogAttrs(ctx, slog.LevelError, "what is stored is served, but nothing is obtained or renewed", slog.String("error", err.Error()))
		}
		m.obtainer.writable.set(storageError{err}, time.Now().Add(probeInterval))
		if pause(ctx, probeInterval) != nil {
			return nil
		}
	}
}

// servesSomething reports whether the storage has a certificate that can be served.
func (m *Manager) servesSomething(ctx context.Context) bool {
	if m.config.OnDemand != nil && (m.obtainer.archive.hasAny(ctx) || copies{&m.obtainer.archive}.any(ctx)) {
		return true
	}
	const sideBySide = 64
	found := errors.New("there is one")
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(sideBySide)
	for e := range m.catalogue.all() {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			r, err := m.obtainer.archive.newest(ctx, e)
			if err != nil {
				loader{&m.obtainer}.serveCopy(ctx, e, err)
			} else if r != nil {
				m.obtainer.serve(e, r)
			}
			m.obtainer.residents.add(e)
			if e.held() != nil {
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
	key := probePrefix + "/" + strings.ToLower(rand.Text())
	revision, err := m.store.Save(ctx, key, []byte(probeText), "")
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
