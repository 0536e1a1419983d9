package certmanager

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	maxRecalls      = 1000             // names at once that the storage is read for
	besideRecalls   = 64               // of them, those that it is read for at the same time
	recallTimeout   = 10 * time.Second // of one read, and of a handshake's wait for it
	expiredPatience = 2 * time.Second  // of a handshake that can be served an expired certificate
	recallInterval  = 5 * time.Second  // in which the storage is read once for a name that it had nothing better for
)

// Recalls are reads of the storage for handshakes whose certificate was evicted from memory, or has expired: another member
// of the fleet may have renewed it.
type recalls struct {
	loader    loader
	admission *admission
	running   func() <-chan struct{} // of Manager
	queue     chan *recall           // to Run

	mu      sync.Mutex // guards what follows; no other lock is taken under it
	byEntry map[*entry]*recall
}

// A recall is one read. What it has found is in the entry.
type recall struct {
	entry *entry
	began time.Time
	done  chan struct{} // closed when what follows is set
	found *served       // nil: err says why
	err   error
}

func newRecalls(l loader, a *admission, running func() <-chan struct{}) recalls {
	return recalls{loader: l, admission: a, running: running, queue: make(chan *recall, maxRecalls), byEntry: make(map[*entry]*recall)}
}

// begin returns the read for the entry that is under way or was a moment ago, or begins one. It returns nil if there are too
// many.
func (r *recalls) begin(e *entry) *recall {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if c := r.byEntry[e]; c != nil && !c.isOver(now) {
		return c
	}
	if len(r.byEntry) >= maxRecalls {
		for e, c := range r.byEntry {
			if c.isOver(now) {
				delete(r.byEntry, e)
			}
		}
	}
	if len(r.byEntry) >= maxRecalls {
		return nil
	}
	c := &recall{entry: e, began: now, done: make(chan struct{})}
	select {
	case r.queue <- c:
		r.byEntry[e] = c
	default:
		return nil
	}
	return c
}

// isOver reports whether another read may begin.
func (c *recall) isOver(now time.Time) bool {
	select {
	case <-c.done:
		since := now.Sub(c.began)
		return since < 0 || since >= recallInterval
	default:
		return false
	}
}

// finish tells the handshakes that wait. What has found a certificate that serves is not remembered.
func (r *recalls) finish(c *recall, found *served, err error) {
	c.found, c.err = found, err
	r.mu.Lock()
	if found != nil && time.Now().Before(found.end()) {
		delete(r.byEntry, c.entry)
	}
	r.mu.Unlock()
	close(c.done)
}

// end fails what Run leaves undone.
func (r *recalls) end() {
	for {
		select {
		case c := <-r.queue:
			r.finish(c, nil, errNotRunning)
		default:
			r.mu.Lock()
			defer r.mu.Unlock()
			clear(r.byEntry)
			return
		}
	}
}

// await waits for what the storage has for the entry. The ctx is that of a handshake, or nil.
func (r *recalls) await(ctx context.Context, e *entry, patience time.Duration) (*served, error) {
	stopped := r.running()
	if stopped == nil {
		return nil, errNotRunning
	}
	c := r.begin(e)
	if c == nil || !r.admission.enter() {
		return nil, errors.New("too many others wait for theirs")
	}
	defer r.admission.leave()
	var ended <-chan struct{}
	if ctx != nil {
		ended = ctx.Done()
	}
	timeout := time.NewTimer(patience - min(time.Since(c.began), patience)) // what hangs is waited for by the first ones
	defer timeout.Stop()
	select {
	case <-c.done:
		return c.found, c.err
	case <-timeout.C:
		return nil, errSlowRecall
	case <-stopped:
		return nil, errNotRunning
	case <-ended:
		return nil, fmt.Errorf("the client went away: %w", ctx.Err())
	}
}

var errSlowRecall = fmt.Errorf("the storage did not answer in time")

// run reads the storage for handshakes that wait, until ctx ends.
func (r *recalls) run(ctx context.Context, tasks *sync.WaitGroup) {
	room := make(chan struct{}, besideRecalls)
	for {
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
			return
		}
		select {
		case c := <-r.queue:
			tasks.Go(func() {
				found, err := r.answer(ctx, c.entry)
				r.finish(c, found, err)
				<-room
			})
		case <-ctx.Done():
			return
		}
	}
}

// answer reads what the storage has for an entry, and returns what is served then.
func (r *recalls) answer(ctx context.Context, e *entry) (*served, error) {
	ctx, cancel := context.WithTimeout(ctx, recallTimeout)
	defer cancel()
	e.roles.set(pinned)
	events, err := r.loader.fetch(ctx, e)
	s := e.served.Load()
	e.roles.unset(pinned)
	for _, event := range events {
		r.loader.emit(ctx, r.loader.loading.toned(e, event))
	}
	if s == nil && err == nil && e.lose() {
		err = errors.New("it has none any more: it is obtained anew")
	}
	if len(events) > 0 || s == nil {
		r.loader.update(e)
	}
	r.loader.residents.add(e)
	return s, err
}
