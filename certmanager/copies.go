package certmanager

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"strings"
	"time"

	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
)

// copyPatience is how long the storage may take to read a certificate before a copy of it is served meanwhile.
const copyPatience = 2 * time.Second

// A copied certificate is one that was in the storage once.
type copied struct {
	*record.Certificate
	time time.Time // when it was
}

// Copies are what an archive's storage keeps copies of, if it does: what was there once, for when it can't be read.
type copies struct{ *archive }

// of returns the newest certificate that there is a copy of for the entry.
func (c copies) of(ctx context.Context, e *entry) (best copied, err error) {
	kept, ok := storage.As[storage.Copies](c.store)
	if !ok {
		return copied{}, nil
	}
	for _, issuer := range c.issuers {
		found, loadErr := kept.LoadCopy(ctx, e.certificateKey(issuer.ID()))
		var r *record.Certificate
		if loadErr == nil {
			r, loadErr = c.decode(found.Value, &e.subject)
		}
		switch {
		case loadErr == nil && r.NewerThan(best.Certificate, time.Now()):
			best = copied{r, found.Time}
		case loadErr != nil && !errors.Is(loadErr, fs.ErrNotExist):
			err = loadErr
		}
	}
	return best, err
}

// soon is newest for who can do with a copy: if the storage takes long, and there is one, it is not waited for.
func (c copies) soon(ctx context.Context, e *entry) (*record.Certificate, error) {
	limited, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(copyPatience, func() {
		if found, _ := c.of(ctx, e); found.Certificate != nil {
			cancel(errSlowStorage)
		}
	})
	defer timer.Stop()
	return c.newest(limited, e)
}

// any reports whether there is one of any certificate.
func (c copies) any(ctx context.Context) bool {
	kept, ok := storage.As[storage.Copies](c.store)
	if !ok {
		return false
	}
	for _, issuer := range c.issuers {
		for _, err := range kept.ScanCopies(ctx, record.CertificatePrefix(issuer.ID())) {
			return err == nil
		}
	}
	return false
}

// serveCopy has handshakes served with a copy while the storage can't be read, which cause says, if they have nothing yet.
func (l loader) serveCopy(ctx context.Context, e *entry, cause error) {
	if e.served.Load() != nil {
		return
	}
	c, err := copies{&l.archive}.of(ctx, e)
	if err != nil {
		l.logger.LogAttrs(ctx, slog.LevelDebug, "a copy of a certificate can't be used", slog.Any("names", e.names()), slog.String("error", err.Error()))
	}
	if c.Certificate != nil && e.lend(c) {
		l.emit(ctx, l.copiedEvent(e, c, cause))
	}
}

// copiedEvent is the event of a copy that is served. The log has the first of many.
func (r *reporter) copiedEvent(e *entry, c copied, cause error) Event {
	event := Event{Kind: EventCopied, Names: e.names(), Issuer: c.Issuer, Serial: c.Serial, NotAfter: c.End, Since: c.time, Err: storageFailure(cause)}
	told, similar := r.common.of(reasonCopies, "").tell(time.Now())
	event.quiet, event.similar = !told, similar
	return event
}

// meanwhile serves a copy if the storage takes long, until the function that it returns is called.
func (l loader) meanwhile(ctx context.Context, e *entry) (end func()) {
	if _, ok := storage.As[storage.Copies](l.store); !ok || e.served.Load() != nil {
		return func() {}
	}
	over := make(chan struct{})
	timer := time.AfterFunc(copyPatience, func() {
		defer close(over)
		l.serveCopy(ctx, e, errors.New("it has not answered yet"))
	})
	return func() {
		if !timer.Stop() {
			<-over
		}
	}
}

// serveCopies has handshakes served with copies of what could not be scanned.
func (s *scan) serveCopies(ctx context.Context, cause error) {
	kept, ok := storage.As[storage.Copies](s.store)
	if !ok {
		return
	}
	served := 0
	for _, issuer := range s.issuers {
		prefix := record.CertificatePrefix(issuer.ID())
		for found, err := range kept.ScanCopies(ctx, prefix) {
			e := s.bySubject[strings.TrimPrefix(found.Key, prefix+"/")]
			if err != nil || e == nil {
				continue
			}
			r, err := s.archive.decode(found.Value, &e.subject)
			if err != nil || !e.lend(copied{r, found.Time}) {
				continue
			}
			served++
			s.residents.add(e)
			s.emit(ctx, s.copiedEvent(e, copied{r, found.Time}, cause))
		}
	}
	if served > 0 {
		s.logger.LogAttrs(ctx, slog.LevelWarn, "copies are served until the storage can be read", slog.Int("count", served))
	}
}

// lend makes a copy what is served, if there is nothing, or an older copy, and reports whether it is. It counts for nothing
// else: the entry is to be loaded still. A copy of what has left memory brings that back.
func (e *entry) lend(c copied) bool {
	e.progress.mu.Lock()
	defer e.progress.mu.Unlock()
	current := e.held()
	switch {
	case e.roles.has(forgotten):
		return false
	case current == nil, current.isCopied() && record.Newer(c.Obtained, current.obtainedAt(), time.Now()):
		s := newServed(c.Certificate)
		s.copied = max(c.time.Unix(), 1)
		e.served.Store(s)
		e.noteLate()
		e.progress.matter.wake()
		return true
	case e.isEvicted() && current.obtained == c.Obtained.UnixNano():
		e.publish(c.Certificate)
	}
	return false
}

// isCopied reports whether a copy is what is served.
func (f *facts) isCopied() bool { return f.copied != 0 }

// copiedAt returns when the copy was made that is served; zero: none is.
func (f *facts) copiedAt() time.Time {
	if !f.isCopied() {
		return time.Time{}
	}
	return time.Unix(f.copied, 0).UTC()
}

// recant is for an entry for which the storage has nothing, whatever its copy says.
func (e *entry) recant() {
	e.progress.mu.Lock()
	defer e.progress.mu.Unlock()
	if s := e.served.Load(); s != nil && s.isCopied() {
		e.served.Store(nil)
	}
}
