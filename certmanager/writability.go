package certmanager

import (
	"context"
	"errors"
	"sync"
	"time"
)

// A writability says whether the storage can be written. Nothing is ordered before that is known.
type writability struct {
	mu    sync.Mutex    // guards what follows
	known chan struct{} // closed when it is; nil before the first begin
	err   error         // why it can't be written
	until time.Time     // when the next attempt is due
}

// begin makes it unknown.
func (w *writability) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.known = make(chan struct{})
}

// set says why the storage can't be written, and when the next attempt is due; nil: it can.
func (w *writability) set(err error, until time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err, w.until = err, until
	select {
	case <-w.known:
	default:
		close(w.known)
	}
}

// probePatience is for how long a worker waits for what is not known, before it does something else.
const probePatience = time.Second

// errProbing is why work waits for as long as it is not known whether the storage can be written.
var errProbing = errors.New("it is not known yet whether the storage can be written")

// check returns why the storage can't be written and when to ask again. If it is not known, it waits for a moment.
func (w *writability) check(ctx context.Context) (until time.Time, err error) {
	w.mu.Lock()
	known := w.known
	w.mu.Unlock()
	select {
	case <-known:
	case <-ctx.Done():
		return time.Now(), ctx.Err()
	case <-time.After(probePatience):
		return time.Now().Add(probePatience), errProbing
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	until = w.until
	if soon := time.Now().Add(probePatience); w.err != nil && until.Before(soon) {
		until = soon // the attempt is under way, and takes long
	}
	return until, w.err
}
