package certmanager

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/everseal/everseal/certmanager/internal/lifecycle"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
)

// A loader has handshakes served with what the storage has, or with copies while it can't be read.
type loader struct{ *obtainer }

// load sees what the storage has for the entry, and serves it.
func (l loader) load(ctx context.Context, e *entry) outcome {
	events, err := l.fetch(ctx, e)
	if err == nil {
		return outcome{kind: lifecycle.Loaded, events: events}
	}
	failed := failedInHouse(ctx, e, err)
	if len(failed.events) > 0 {
		failed.events[0].Kind = EventWarning
	}
	failed.events = append(events, failed.events...)
	return failed
}

// fetch serves the newest certificate that could be read, and returns the event of it. It returns an error if some could
// not.
func (l loader) fetch(ctx context.Context, e *entry) (events []Event, err error) {
	end := l.meanwhile(ctx, e)
	r, err := l.archive.newest(ctx, e)
	end()
	l.residents.read(err)
	switch {
	case r != nil:
		if l.serve(e, r) {
			events = []Event{loadedEvent(e, r)}
		}
	case err == nil:
		e.recant()
	default:
		l.serveCopy(ctx, e, err)
	}
	return events, err
}

// loadedEvent is the event of a certificate that was found in the storage and is served.
func loadedEvent(e *entry, r *record.Certificate) Event {
	return Event{Kind: EventLoaded, Names: e.names(), Issuer: r.Issuer, Serial: r.Serial, NotAfter: r.End, Next: renewal(r)}
}

// scanTimeout is how long a scan may take from one record to the next, before certificates are loaded one by one.
const scanTimeout = 5 * time.Second

// A scan reads all certificates that the storage has in one go. What a handshake waits for meanwhile is loaded beside it.
type scan struct {
	loader
	bySubject map[string]*entry
	unread    map[*entry]bool // whose records the storage could not read
}

// scan reads what the storage has for the entries, which are loaded then. If the storage fails or hangs, those that it
// came upon are; the others are to be loaded one by one.
func (l loader) scan(ctx context.Context, entries []*entry) {
	s := scan{loader: l, bySubject: make(map[string]*entry, len(entries)), unread: make(map[*entry]bool)}
	for _, e := range entries {
		s.bySubject[e.key()] = e
	}
	last := len(l.issuers) - 1
	for i, issuer := range l.issuers {
		if err := s.issuer(ctx, issuer, i == last); err != nil {
			if ctx.Err() == nil {
				l.logger.LogAttrs(ctx, slog.LevelWarn, "the storage can't be scanned: certificates are loaded one by one", slog.String("error", err.Error()))
				s.serveCopies(ctx, err)
			}
			return
		}
	}
	for _, e := range entries {
		if !s.unread[e] {
			l.loaded(e)
		}
	}
}

// issuer reads the certificates of one issuer. With those of the last one, entries are loaded.
func (s *scan) issuer(ctx context.Context, issuer *gatedIssuer, last bool) error {
	prefix, records := record.CertificatePrefix(issuer.ID()), make(chan storage.Record, 64)
	var decoders sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		decoders.Go(func() {
			for item := range records {
				if e := s.bySubject[strings.TrimPrefix(item.Key, prefix+"/")]; e != nil {
					s.found(ctx, e, item, last)
				}
			}
		})
	}
	defer decoders.Wait()
	defer close(records)
	for item, err := range patientScan(ctx, s.store, prefix) {
		switch {
		case err == nil:
			records <- item
		case item.Key == "":
			return err
		default:
			if e := s.bySubject[strings.TrimPrefix(item.Key, prefix+"/")]; e != nil {
				s.unread[e] = true
			}
		}
	}
	return nil
}

// errSlowScan is why a scan was given up.
var errSlowScan = fmt.Errorf("no record came within %v", scanTimeout)

// found serves a record that the scan came upon. What can't be used is dealt with when its turn comes.
func (s *scan) found(ctx context.Context, e *entry, item storage.Record, last bool) {
	s.loading.found()
	r, err := s.archive.decode(item.Value, &e.subject)
	if err != nil {
		return
	}
	if s.serve(e, r) {
		s.emit(ctx, s.loading.toned(e, loadedEvent(e, r)))
	}
	s.residents.add(e)
	if last {
		s.loaded(e)
	}
}
