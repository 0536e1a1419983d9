package certmanager

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/lifecycle"
)

const (
	warmPeriod  = time.Minute // for which what Load has loaded is not loaded again
	besideLoads = 64          // certificates that Load loads at once
)

// Load fills the memory with what the storage has, without obtaining anything: GetCertificate serves it from then on,
// before Run is called, so that a new process, or a manager that replaces another, takes over without a handshake that
// fails. A Run that is called within a minute does not load it again. It returns once all is loaded: nil, also if
// certificates are missing, or what could not be loaded, which Run tries again. While Run loads, or has loaded, it loads
// what is left. What is beyond Config.MaxLoaded is served when Run runs.
func (m *Manager) Load(ctx context.Context) error {
	if m.store == nil {
		return errNotMade
	}
	begun := time.Now()
	f := filling{loader{&m.obtainer}}
	if m.running() == nil {
		f.unload()
	}
	entries, failed, err := f.loadAll(ctx)
	m.mu.Lock()
	m.loaded, m.filled = begun, true
	m.mu.Unlock()
	m.dispatcher.Update(entries...)
	if err != nil {
		return fmt.Errorf("certmanager: %d of %d certificates could not be loaded, the first of them: %w", failed, m.catalogue.index.Len(), err)
	}
	return nil
}

// loadAll loads the entries that are not loaded. It returns those that were loaded one by one, how many of them failed, and
// with what the first did.
func (f filling) loadAll(ctx context.Context) (entries []*entry, failed int, failure error) {
	entries = unloadedOf(slices.Collect(f.catalogue.all()))
	if f.scans(entries) {
		f.scan(ctx, entries)
	}
	entries = unloadedOf(entries)
	failed, failure = f.loadEach(ctx, entries)
	return entries, failed, failure
}

// loadEach loads entries one by one. It returns how many failed, and with what the first did.
func (f filling) loadEach(ctx context.Context, entries []*entry) (failed int, failure error) {
	var mu sync.Mutex
	var group errgroup.Group
	group.SetLimit(besideLoads)
	for _, e := range entries {
		group.Go(func() error {
			err := ctx.Err()
			if err == nil {
				err = f.loadOne(ctx, e)
			}
			if err == nil {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			if failed++; failure == nil {
				failure = fmt.Errorf("%v: %w", &e.subject, storageFailure(err))
			}
			return nil
		})
	}
	_ = group.Wait() // there is none: each is counted
	return failed, failure
}

// loadOne serves what the storage has for the entry.
func (f filling) loadOne(ctx context.Context, e *entry) error {
	events, err := f.fetch(ctx, e)
	f.residents.add(e)
	for _, event := range events {
		f.emit(ctx, f.loading.toned(e, event))
	}
	if err == nil {
		f.loaded(e)
	}
	return err
}

// unload has the storage asked anew for all entries.
func (f filling) unload() {
	for e := range f.catalogue.all() {
		e.roles.unset(starting) // which Run says anew
		e.progress.change((*lifecycle.State).Unload)
	}
}

// isWarm reports whether Load was called a moment ago. The caller holds m.mu.
func (m *Manager) isWarm() bool {
	since := time.Since(m.loaded)
	return !m.loaded.IsZero() && since >= 0 && since < warmPeriod
}

// Certificate returns the certificate that a handshake for the name gets, by the name itself or the wildcard that covers
// it; of an empty name, that of Config.DefaultName. It obtains nothing and waits for nothing: it reports false if none is
// served, or if it is in the storage alone (Config.MaxLoaded). Its Leaf is nil. It is not to be changed.
func (m *Manager) Certificate(name string) (*tls.Certificate, bool) {
	if name == "" {
		name = m.defaultName
	}
	id, err := acme.ParseIdentifier(name)
	if err != nil {
		return nil, false
	}
	certificate := familyOf(m.catalogue.serving(id.Value)).certificate()
	return certificate, certificate != nil
}
