package nats

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/server"
)

// Connections are cut at any byte. What was acknowledged stays, and nobody is told of a conflict who is alone.
func TestCutConnections(t *testing.T) {
	rounds := 400
	if raceDetector {
		rounds = 60
	}
	node := sharedServer(t)
	d := targetAt(node.Address())
	direct := d.open(t)
	c := server.NewCutter(t, node.Address())
	s := through(c, node, d).open(t)
	var revision storage.Revision
	for round := range rounds {
		value := fmt.Appendf(bytes.Repeat([]byte("."), rand.IntN(9000)), " %d", round)
		revision = saveSurely(t, s, value, revision)
		if item, err := direct.Load(t.Context(), "a"); err != nil || item.Revision != revision || !bytes.Equal(item.Value, value) {
			t.Fatalf("round %d: %d bytes at %q are stored, %v; want %d at %q", round, len(item.Value), item.Revision, err, len(value), revision)
		}
	}
	if c.Cuts() < rounds/50 {
		t.Errorf("only %d connections were cut", c.Cuts())
	}
	t.Logf("%d saves, %d cuts", rounds, c.Cuts())
}

// saveSurely saves as one has to who gets errors: it looks what became of the save, and does it again with the same
// revision if nothing did.
func saveSurely(t *testing.T, s storage.Store, value []byte, old storage.Revision) storage.Revision {
	t.Helper()
	unknown := false // whether a save before has come to nothing
	return until(t, func() (storage.Revision, error) {
		revision, err := s.Save(t.Context(), "a", value, old)
		if err == nil {
			return revision, nil
		}
		conflict := errors.Is(err, storage.ErrConflict)
		if conflict && !unknown {
			t.Fatalf("Save without another writer: %v", err)
		}
		unknown = true
		item := until(t, func() (storage.Item, error) {
			item, err := s.Load(t.Context(), "a")
			if errors.Is(err, fs.ErrNotExist) {
				return storage.Item{}, nil
			}
			return item, err
		})
		if bytes.Equal(item.Value, value) && item.Revision != "" {
			return item.Revision, nil
		}
		if conflict {
			t.Fatalf("a conflict with %d bytes that nobody has saved", len(item.Value))
		}
		return "", err
	})
}

// A server is killed and started again while several write. Nothing that was acknowledged is lost.
func TestServerRestarts(t *testing.T) {
	one, err := newServer()
	node := start(t, one, err)
	s := targetAt(node.Address()).open(t)
	w := startWriters(t, s)
	w.wait(t)
	for _, signal := range []os.Signal{os.Kill, syscall.SIGTERM, os.Kill} {
		node.End(signal)
		if err := node.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.wait(t)
	}
	w.check(t, s)
}

// Writers each lengthen a record of their own and count how often that was acknowledged.
type writers struct {
	stop func() [4]int // ends them and returns what they have counted

	mu           sync.Mutex
	more         *sync.Cond
	acknowledged [4]int // guarded by mu
	late         bool   // guarded by mu; patience is at an end
}

func startWriters(t *testing.T, s storage.Store) *writers {
	w := new(writers)
	w.more = sync.NewCond(&w.mu)
	ctx, cancel := context.WithCancel(t.Context())
	var tasks sync.WaitGroup
	for i := range w.acknowledged {
		key := fmt.Sprintf("writer/%d", i)
		tasks.Go(func() {
			for ctx.Err() == nil {
				if _, err := storage.Update(t.Context(), s, key, func(old []byte) ([]byte, error) { return append(old, '+'), nil }); err != nil {
					_ = pause(ctx, 6) // the server is away
					continue
				}
				w.mu.Lock()
				w.acknowledged[i]++
				w.mu.Unlock()
				w.more.Broadcast()
			}
		})
	}
	w.stop = func() [4]int {
		cancel()
		tasks.Wait()
		return w.acknowledged
	}
	t.Cleanup(func() { w.stop() })
	return w
}

// wait returns when all writers have got on.
func (w *writers) wait(t *testing.T) {
	t.Helper()
	const some = 10
	timer := time.AfterFunc(server.Patience, func() {
		w.mu.Lock()
		w.late = true
		w.mu.Unlock()
		w.more.Broadcast()
	})
	defer timer.Stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	from := w.acknowledged
	for i := range from {
		for w.acknowledged[i] < from[i]+some {
			if w.late {
				t.Fatalf("writer %d does not get on", i)
			}
			w.more.Wait()
		}
	}
}

// check stops the writers and looks whether all that was acknowledged is there.
func (w *writers) check(t *testing.T, s storage.Store) {
	t.Helper()
	for i, n := range w.stop() {
		item, err := s.Load(t.Context(), fmt.Sprintf("writer/%d", i))
		if err != nil || len(item.Value) < n {
			t.Errorf("writer %d: %d increments are stored, %v; %d were acknowledged", i, len(item.Value), err, n)
		}
	}
}
