package acme

import (
	"context"
	"sync"
)

// A turn is a lock that is waited for no longer than a context lives. Unlike a mutex it may be held over the
// network.
type turn struct {
	mu    sync.Mutex    // guards taken
	taken chan struct{} // closed when whoever has the turn gives it back; nil: nobody has it
}

// take waits for the turn. It fails with the context's error.
func (t *turn) take(ctx context.Context) error {
	for {
		t.mu.Lock()
		taken := t.taken
		if taken == nil {
			t.taken = make(chan struct{})
		}
		t.mu.Unlock()
		if taken == nil {
			return nil
		}
		select {
		case <-taken:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// giveBack lets the next have the turn.
func (t *turn) giveBack() {
	t.mu.Lock()
	defer t.mu.Unlock()
	close(t.taken)
	t.taken = nil
}
