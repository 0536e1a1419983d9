package certmanager

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/everseal/everseal/certmanager/internal/lifecycle"
)

var (
	errDeleted = errors.New("another process has deleted it")
	errLost    = errors.New("its record is gone from the storage, though no Manager.Delete has deleted it: it is served on, and obtained anew")
)

// miss is for an entry whose certificate of the issuer is gone from the storage. If that is what was served, what the storage has of
// another issuer is served. If it has none, the entry is forgotten if the certificate was deleted, or had ended and was obtained on
// demand: whoever still wants it asks. Else it is obtained anew.
func (f follower) miss(ctx context.Context, e *entry, issuer string) {
	s := e.held()
	if s == nil || s.issuer != issuer || e.roles.has(unstored) {
		return
	}
	r, err := f.archive.newest(ctx, e)
	if err == nil && r != nil {
		if f.serve(e, r) {
			f.update(e)
		}
		f.residents.add(e)
		return
	}
	deleted := e.roles.has(onDemand) && !time.Now().Before(s.end()) // by a sweep, say
	if err == nil && !deleted {
		deleted, err = f.archive.wasDeleted(ctx, e.certificateKey(issuer), s.obtainedAt())
	}
	switch {
	case err != nil:
		f.logger.LogAttrs(ctx, slog.LevelDebug, "the record of a certificate is gone, and it can't be found out why", slog.Any("names", e.names()), slog.Any("error", err))
	case deleted:
		f.forgetDeleted(ctx, e)
	default:
		f.replaceLost(ctx, e)
	}
}

// forgetDeleted ends the management of an entry whose certificate another process has deleted.
func (o *obtainer) forgetDeleted(ctx context.Context, e *entry) outcome {
	event := missingEvent(EventDeleted, e)
	o.abandon(o.catalogue.discard([]*entry{e}), errDeleted)
	o.emit(ctx, event)
	return outcome{kind: lifecycle.Deferred, err: fmt.Errorf("certmanager: %v: %w", &e.subject, errDeleted)}
}

// replaceLost has a certificate obtained anew whose record was lost: the next start would find none.
func (f follower) replaceLost(ctx context.Context, e *entry) {
	if f.role == RoleServe {
		return // those that obtain find out by themselves
	}
	queued := false
	e.progress.change(func(s *lifecycle.State) {
		queued = s.Queued()
		s.Queue()
	})
	if queued {
		return
	}
	event := missingEvent(EventCorrupt, e)
	event.Err = fmt.Errorf("certmanager: %v: %w", &e.subject, errLost)
	f.emit(ctx, event)
	f.update(e)
}

// missingEvent returns an event about the certificate of an entry whose record is gone.
func missingEvent(kind EventKind, e *entry) Event {
	event := Event{Kind: kind, Names: e.names(), Serial: e.serial()}
	if s := e.held(); s != nil {
		event.Issuer, event.NotAfter = s.issuer, s.end()
	}
	return event
}
