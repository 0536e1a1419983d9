package storagetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/everseal/everseal/storage"
)

// watchCases ask stores that are a [storage.Watcher]; others are passed by.
func watchCases() []testCase {
	return []testCase{
		{"Watch", "Members of a fleet learn by it of certificates that others have obtained, and of answers to " +
			"challenges. Without a hint they wait for their next scan.", testWatch},
		{"WatchEnds", "A watch that does not end with its context keeps a goroutine and a connection for ever.", testWatchEnds},
	}
}

// cutCases ask what a watch does whose connection breaks.
func (suite Suite) cutCases() []testCase {
	if suite.Cut == nil {
		return nil
	}
	return []testCase{
		{"WatchCut", "Connections break. A watch that has lost hints and continues in silence leaves its process with old " +
			"certificates; it must end with an error, so that everything is read once more.", suite.testWatchCut},
	}
}

// hintTimeout is how long a hint may take. Polling stores check every few seconds.
const hintTimeout = 10 * time.Second

// A watch is a Watch under way in a goroutine of its own.
type watch struct {
	keys chan string
	done chan error // what it ended with
}

func startWatch(ctx context.Context, t *testing.T, w storage.Watcher, prefix string) watch {
	t.Helper()
	started := watch{make(chan string), make(chan error, 1)}
	go func() {
		var last error
		for key, err := range w.Watch(ctx, prefix) {
			if last = err; err != nil {
				continue
			}
			select {
			case started.keys <- key:
			case <-ctx.Done():
			}
		}
		started.done <- last
	}()
	select {
	case key := <-started.keys:
		if key != "" {
			t.Fatalf("the first that Watch(%q) yields is %q, want \"\": it listens", prefix, key)
		}
	case err := <-started.done:
		t.Fatalf("Watch(%q) ended at once: %v", prefix, err)
	case <-time.After(hintTimeout):
		t.Fatalf("Watch(%q) does not say that it listens", prefix)
	}
	return started
}

// want waits for a hint of the key. Others may come before, but none of what is not below the prefix.
func (w watch) want(t *testing.T, key, prefix string) {
	t.Helper()
	limit := time.After(hintTimeout)
	for {
		select {
		case got := <-w.keys:
			if got == key {
				return
			}
			if !storage.Within(got, prefix) {
				t.Errorf("Watch(%q) yields %q", prefix, got)
			}
		case err := <-w.done:
			t.Fatalf("Watch(%q) ended: %v", prefix, err)
		case <-limit:
			t.Fatalf("Watch(%q) did not tell that %q was changed", prefix, key)
		}
	}
}

func watcherOf(t *testing.T, s storage.Store) storage.Watcher {
	t.Helper()
	w, ok := storage.As[storage.Watcher](s)
	if !ok {
		t.Log("the store is no storage.Watcher: nothing to test")
	}
	return w
}

func testWatch(t *testing.T, s, other storage.Store) {
	w := watcherOf(t, s)
	if w == nil {
		return
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	before := on(t, other).save("certificates/before", "x", "")
	some := startWatch(ctx, t, w, "certificates")
	all := startWatch(ctx, t, w, "")
	for round := range 3 {
		key := fmt.Sprintf("certificates/*.%d.example.com", round)
		on(t, other).save(fmt.Sprintf("certificatesque/%d", round), "x", "")
		revision := on(t, other).save(key, "x", "")
		some.want(t, key, "certificates")
		all.want(t, key, "")
		revision = on(t, s).save(key, "y", revision) // by the watching handle itself
		some.want(t, key, "certificates")
		all.want(t, key, "")
		if err := other.Delete(t.Context(), key, revision); err != nil {
			t.Fatal(err)
		}
		some.want(t, key, "certificates")
		all.want(t, key, "")
	}
	on(t, other).save("certificates/before", "y", before)
	some.want(t, "certificates/before", "certificates")
}

func testWatchEnds(t *testing.T, s, other storage.Store) {
	w := watcherOf(t, s)
	if w == nil {
		return
	}
	ctx, cancel := context.WithCancel(t.Context())
	watching := startWatch(ctx, t, w, "")
	cancel()
	select {
	case err := <-watching.done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Watch ended with %v, want an error that wraps context.Canceled", err)
		}
	case <-time.After(hintTimeout):
		t.Error("Watch continues though its context has ended")
	}
	for key, err := range w.Watch(ctx, "") {
		if key != "" || !errors.Is(err, context.Canceled) {
			t.Errorf("Watch under a cancelled context yields %q, %v", key, err)
		}
	}
	for key, err := range w.Watch(t.Context(), "../a") {
		if key != "" || !errors.Is(err, storage.ErrInvalidKey) {
			t.Errorf("Watch of an invalid prefix yields %q, %v", key, err)
		}
	}
	// A caller may stop when it has seen enough, and use the store between two keys.
	next, stop := iter.Pull2(w.Watch(t.Context(), ""))
	if key, err, ok := next(); key != "" || err != nil || !ok {
		t.Errorf("Watch yields %q, %v first", key, err)
	}
	on(t, other).save("a", "x", "")
	if key, err, ok := next(); key != "a" || err != nil || !ok {
		t.Errorf("Watch yields %q, %v, want a", key, err)
	}
	on(t, s).save("b", "x", "")
	stop()
}

func (suite Suite) testWatchCut(t *testing.T, s, other storage.Store) {
	w := watcherOf(t, s)
	if w == nil {
		return
	}
	for round := range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		watching := startWatch(ctx, t, w, "certificates") // again after a cut
		key := fmt.Sprintf("certificates/%d", round)
		revision := on(t, other).save(key, "x", "")
		watching.want(t, key, "certificates")
		suite.Cut(t, s)
		key += ".after"
		on(t, other).save(key, "x", "")
		limit := time.After(hintTimeout)
	hints:
		for {
			select {
			case got := <-watching.keys:
				if got == key {
					break hints // it has lost nothing
				}
			case err := <-watching.done:
				if err == nil {
					t.Error("a watch that was cut ended without an error")
				}
				break hints
			case <-limit:
				t.Fatal("a watch that was cut neither ended nor told what was changed after that")
			}
		}
		if err := other.Delete(t.Context(), fmt.Sprintf("certificates/%d", round), revision); err != nil {
			t.Error(err)
		}
		cancel()
	}
}
