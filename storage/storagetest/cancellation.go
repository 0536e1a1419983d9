package storagetest

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/everseal/everseal/storage"
)

func cancellationCases() []testCase {
	return []testCase{
		{"Cancellation", "A process that is shutting down breaks off its calls wherever they are. What it leaves is what was " +
			"stored before or what was to be, never half of it, and it is told that its context has ended.", testCancellation},
	}
}

// A countdown is a context that is cancelled when it has been asked a number of times whether it has ended: in the
// midst of a call, at a place that the call itself has chosen.
type countdown struct {
	context.Context
	cancel context.CancelFunc

	mu   sync.Mutex
	left int // guarded by mu
}

func (c *countdown) count() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left--; c.left == 0 {
		c.cancel()
	}
}

func (c *countdown) Err() error {
	c.count()
	return c.Context.Err()
}

func (c *countdown) Done() <-chan struct{} {
	c.count()
	return c.Context.Done()
}

// cancelled calls f with contexts that end in the midst of what it does: at each of the first checks of them, and at
// several times within the duration that it takes.
func cancelled(t *testing.T, f func(ctx context.Context)) {
	const checks, times = 12, 12
	for n := range checks {
		ctx, cancel := context.WithCancel(t.Context())
		f(&countdown{Context: ctx, cancel: cancel, left: n + 1})
		cancel()
	}
	begun := time.Now()
	f(t.Context())
	took := time.Since(begun)
	for n := range times {
		ctx, cancel := context.WithTimeoutCause(t.Context(), took*time.Duration(n)/times, nil)
		f(ctx)
		cancel()
	}
}

// wantEnded reports an error that is not that of a context which has ended.
func wantEnded(t *testing.T, method string, err error) {
	t.Helper()
	if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%s whose context ends meanwhile: %v, want its context's error", method, err)
	}
}

func testCancellation(t *testing.T, s, other storage.Store) {
	on(t, s).save("still/a", "x", "")
	old, next := strings.Repeat("old\n", 2000), strings.Repeat("the next\n", 2000)
	cancelled(t, func(ctx context.Context) {
		revision := settle(t, other, old)
		saved, err := s.Save(ctx, "a", []byte(next), revision)
		wantEnded(t, "Save", err)
		item := on(t, other).load("a")
		switch got := string(item.Value); {
		case err == nil && (got != next || item.Revision != saved):
			t.Errorf("Save has succeeded; %d bytes are stored with revision %q, want %d with %q", len(got), item.Revision, len(next), saved)
		case got != old && got != next, got == old && item.Revision != revision, got == next && item.Revision == revision:
			t.Errorf("a cancelled Save leaves %d bytes with revision %q: neither what was stored nor what was to be", len(got), item.Revision)
		}
	})
	cancelled(t, func(ctx context.Context) {
		revision := settle(t, other, old)
		err := s.Delete(ctx, "a", revision)
		wantEnded(t, "Delete", err)
		item, loadErr := other.Load(t.Context(), "a")
		if gone := errors.Is(loadErr, fs.ErrNotExist); err == nil && !gone || !gone && (loadErr != nil || item.Revision != revision || string(item.Value) != old) {
			t.Errorf("Delete: %v; then Load has %d bytes with revision %q (%v)", err, len(item.Value), item.Revision, loadErr)
		}
	})
	revision := settle(t, other, old)
	cancelled(t, func(ctx context.Context) {
		item, err := s.Load(ctx, "a")
		wantEnded(t, "Load", err)
		if err == nil && (string(item.Value) != old || item.Revision != revision) {
			t.Errorf("a Load whose context ends meanwhile has %d bytes with revision %q", len(item.Value), item.Revision)
		}
		wantCancelledList(t, s, ctx)
	})
	on(t, s).wantListed("", "a", "still/a")
}

// wantCancelledList lists and scans: all that is stored comes, or an error.
func wantCancelledList(t *testing.T, s storage.Store, ctx context.Context) {
	t.Helper()
	n, failure := 0, error(nil)
	for _, err := range s.List(ctx, "") {
		if failure = err; err == nil {
			n++
		}
	}
	if wantEnded(t, "List", failure); failure == nil && n != 2 {
		t.Errorf("a List whose context ends meanwhile yields %d keys and no error, want 2 or an error", n)
	}
	n, failure = 0, nil
	for _, err := range storage.Scan(ctx, s, "", "") {
		if failure = err; err == nil {
			n++
		}
	}
	if wantEnded(t, "Scan", failure); failure == nil && n != 2 {
		t.Errorf("a Scan whose context ends meanwhile yields %d records and no error, want 2 or an error", n)
	}
}

// settle stores value under "a", whatever is there: what was cancelled may still come.
func settle(t *testing.T, s storage.Store, value string) storage.Revision {
	t.Helper()
	item, err := storage.Update(t.Context(), s, "a", func([]byte) ([]byte, error) { return []byte(value), nil })
	if err != nil {
		t.Fatalf("Update: %v", err)
	}
	return item.Revision
}
