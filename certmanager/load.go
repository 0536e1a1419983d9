package certmanager

import (
	"context"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/everseal/everseal/certmanager/internal/lifecycle"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
)

// load sees what the storage has for the entry, and serves it.
func (o *obtainer) load(ctx context.Context, e *entry) outcome {
	r, err := o.archive.newest(ctx, e)
	var events []Event
	if r != nil && o.serve(e, r) {
		events = append(events, loadedEvent(e, r))
	}
	if err == nil {
		return outcome{kind: lifecycle.Loaded, events: events}
	}
	failed := o.failed(ctx, e, err)
	if len(failed.events) > 0 {
		failed.events[0].Kind = EventWarning
	}
	failed.events = append(events, failed.events...)
	return failed
}

// loadedEvent is the event of a certificate that was found in the storage and is served.
func loadedEvent(e *entry, r *record.Certificate) Event {
	return Event{Kind: EventLoaded, Names: e.names(), Issuer: r.Issuer, Serial: r.Serial, NotAfter: r.End, Next: renewal(r)}
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
	if r, err := o.archive.decode(item.Value, &e.subject); err == nil && o.serve(e, r) {
		o.emit(ctx, loadedEvent(e, r))
	}
}
