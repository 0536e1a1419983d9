package certmanager

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	maxLoadedLines = 10               // certificates loaded at start that the log has a line each for
	slowLoading    = 10 * time.Second // after which it has one on how far the loading is
)

// A loading is how far certificates are loaded from the storage when Run begins. The zero value is over.
type loading struct {
	mu      sync.Mutex // guards what follows
	began   time.Time
	total   int  // to be loaded; until they are counted, all that are managed
	counted bool // they are, and each has the role starting until it is loaded
	done    int
	missing int           // of those: the storage has none that can be used
	read    int           // records come upon in one go
	ended   bool          // nothing is left to be loaded
	over    chan struct{} // closed then; nil: not begun
}

// begin says how many are managed. Handshakes load what they need from then on.
func (l *loading) begin(managed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.began, l.total, l.counted, l.done, l.missing, l.read, l.ended, l.over = time.Now(), managed, false, 0, 0, 0, false, make(chan struct{})
}

// count says how many are to be loaded.
func (l *loading) count(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total, l.counted = n, true
	l.end()
}

// end ends the loading if all are loaded. The caller holds l.mu.
func (l *loading) end() {
	if l.counted && l.done >= l.total && !l.ended {
		l.ended = true
		close(l.over)
	}
}

// found counts a record.
func (l *loading) found() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.read++
}

// toned returns the event of a loaded certificate, which the log shows at DEBUG alone if there are many, or if the name is on
// demand: clients may ask for any number.
func (l *loading) toned(e *entry, event Event) Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	event.quiet = e.roles.has(onDemand) || l.over != nil && !l.ended && l.total > maxLoadedLines
	return event
}

// one counts an entry that is loaded, or is managed no more, if it was to be loaded.
func (l *loading) one(e *entry) {
	if !e.roles.take(starting) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done++
	if e.held() == nil {
		l.missing++
	}
	l.end()
}

// watch logs how far it is if it takes long, until it is over, and then the sum if they are many.
func (l *loading) watch(ctx context.Context, logger *slog.Logger) {
	l.mu.Lock()
	over := l.over
	l.mu.Unlock()
	tick := time.NewTicker(slowLoading)
	defer tick.Stop()
	var p pace
	for {
		select {
		case <-over:
			l.tellSum(ctx, logger)
			return
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if told, _ := p.tell(time.Now()); told {
			l.mu.Lock()
			attrs := []slog.Attr{slog.Int("loaded", max(l.done, min(l.read, l.total))), slog.Int("of", l.total), slog.Duration("for", time.Since(l.began))}
			l.mu.Unlock()
			logger.LogAttrs(ctx, slog.LevelWarn, "the storage is slow: certificates are still being loaded", attrs...)
		}
	}
}

func (l *loading) tellSum(ctx context.Context, logger *slog.Logger) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total > maxLoadedLines {
		logger.LogAttrs(ctx, slog.LevelInfo, "certificates loaded", slog.Int("count", l.total-l.missing),
			slog.Int("missing", l.missing), slog.Duration("took", time.Since(l.began)))
	}
}

// loaded notes that the storage was asked for the entry, in one go with others.
func (l loader) loaded(e *entry) {
	if e.progress.isLoaded() {
		return
	}
	e.progress.loaded()
	l.loading.one(e)
}
