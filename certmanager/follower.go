package certmanager

import (
	"context"
	"sync"
	"time"

	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
)

const watchInterval = time.Minute // between attempts to listen to a storage that tells of changes

// A follower has certificates served that other processes store, and forgets those that they delete: as the storage tells of
// them, or as comparisons with it find.
type follower struct {
	*obtainer
	interval time.Duration // Config.FollowInterval
}

// run follows what other processes do until ctx ends.
func (f follower) run(ctx context.Context) {
	watcher, watches := storage.As[storage.Watcher](f.store)
	if !watches {
		f.compareAgain(ctx, nil)
		return
	}
	missed := make(chan struct{}, 1)
	var comparisons sync.WaitGroup
	defer comparisons.Wait()
	comparisons.Go(func() { f.compareAgain(ctx, missed) })
	for first := true; ctx.Err() == nil; first = false {
		f.watch(ctx, watcher, func() {
			if !first { // what was told before is read, or was just now
				note(missed)
			}
		})
		note(missed)
		_ = pause(ctx, watchInterval)
	}
}

// note fills a channel that has room for one, unless it is full.
func note(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// watch follows what the storage tells, until that is broken off. It calls listens when it is told from then on.
func (f follower) watch(ctx context.Context, w storage.Watcher, listens func()) {
	for key, err := range w.Watch(ctx, record.AllCertificates) {
		switch {
		case err != nil:
			f.logger.DebugContext(ctx, "the storage tells no more what other processes change; it will be asked again", "error", err)
			return
		case key != "":
			f.reload(ctx, key)
		default:
			listens()
		}
	}
}

// reload serves what the storage has at the key of a certificate that is served or awaited. If it is gone that was
// there, the certificate was deleted, and is forgotten, or was lost.
func (f follower) reload(ctx context.Context, key string) {
	id, name, keyType, ok := record.ParseCertificateKey(key)
	if !ok {
		return
	}
	e := f.catalogue.subject(name, keyType)
	if e == nil || !e.progress.isLoaded() {
		return // it is read when its turn comes
	}
	for _, issuer := range f.issuers {
		if issuer.ID() != id {
			continue
		}
		wasEvicted := e.isEvicted()
		item, err := f.archive.item(ctx, key)
		if s := e.served.Load(); s != nil && s.issuer == id && record.ObtainedAt(item.Value, s.obtainedAt()) {
			return // it is what this process has stored itself
		}
		var r *record.Certificate
		if err == nil && item.Revision != "" {
			r, err = f.archive.read(ctx, issuer, &e.subject, item)
		}
		switch {
		case err != nil:
			f.logger.DebugContext(ctx, "a certificate that another process has changed can't be loaded", "key", key, "error", err)
		case r != nil:
			if f.serve(e, r) {
				f.emit(ctx, loadedEvent(e, r))
				f.update(e)
			}
			f.residents.keep(e, wasEvicted)
			f.leave(e) // another member was faster with what a survey found
		case item.Revision == "":
			f.miss(ctx, e, id)
		}
	}
}

// subject returns the entry with the kind of key of the subject that is named so in storage keys, or nil.
func (c *catalogue) subject(name, keyType string) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	in := locked{c}
	first := record.FirstName(name)
	for _, e := range []*entry{c.heirs[first], in.holder(first)} {
		if a := familyOf(e).ofKind(keyType); a != nil && a.name() == name {
			return a
		}
	}
	return nil
}
