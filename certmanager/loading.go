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
	mu      sync.Mutex
	began   time.Time
	total   int
	left    int
	missing int // of those loaded: the storage has none that can be used
	read    int // records come upon in one go
	over    chan struct{}
}

// begin says how many are to be loaded.
func (l *loading) begin(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.began, l.total, l.left, l.missing, l.read, l.over = time.Now(), n, n, 0, 0, make(chan struct{})
	if n == 0 {
		close(l.over)
	}
}

// found counts a record.
func (l *loading) found() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.read++
}

// toned returns the event of a loaded certificate, which the log shows at DEBUG alone if there are many, or if a client
// wanted the name.
func (l *loading) toned(e Event) Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.quiet = l.left > 0 && l.total > maxLoadedLines
	return e
}

// one counts an entry that is loaded, and logs the sum with the last one.
func (l *loading) one(ctx context.Context, logger *slog.Logger, e *entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.left == 0 {
		return
	}
	l.left--
	if e.held() == nil {
		l.missing++
	}
	if l.left > 0 {
		return
	}
	close(l.over)
	if l.total > maxLoadedLines {
		logger.LogAttrs(ctx, slog.LevelInfo, "certificates loaded", slog.Int("count", l.total-l.missing),
			slog.Int("missing", l.missing), slog.Duration("took", time.Since(l.began)))
	}
}

// watch logs how far it is if it takes long, until it is over.
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
			return
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if told, _ := p.tell(time.Now()); told {
			l.mu.Lock()
			attrs := []slog.Attr{slog.Int("loaded", max(l.total-l.left, min(l.read, l.total))), slog.Int("of", l.total), slog.Duration("for", time.Since(l.began))}
			l.mu.Unlock()
			logger.LogAttrs(ctx, slog.LevelWarn, "the storage is slow: certificates are still being loaded", attrs...)
		}
	}
}

// loaded notes that the storage was asked for the entry, in one go with others.
func (l loader) loaded(ctx context.Context, e *entry) {
	if e.progress.isLoaded() {
		return
	}
	e.progress.loaded()
	l.loading.one(ctx, l.logger, e)
}
