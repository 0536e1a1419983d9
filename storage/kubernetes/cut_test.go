package kubernetes

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/enginetest"
	"github.com/everseal/everseal/storage/internal/server"
	"github.com/everseal/everseal/storage/internal/wait"
)

// Connections are cut at any byte. What was acknowledged stays, and nobody is told of a conflict who is alone.
func TestCutConnections(t *testing.T) {
	t.Parallel()
	rounds := 300
	if raceDetector {
		rounds = 60
	}
	s := apiServer(t)
	c := server.NewCutter(t, s.Address())
	rawURL := place(s, c.Address(), "program")
	store := open(t, rawURL)
	direct := open(t, strings.Replace(rawURL, c.Address(), s.Address(), 1))
	var revision storage.Revision
	for round := range rounds {
		value := fmt.Appendf(bytes.Repeat([]byte("."), rand.IntN(9000)), " %d", round)
		revision = enginetest.SaveSurely(t, store, value, revision)
		if item, err := direct.Load(t.Context(), "a"); err != nil || item.Revision != revision || !bytes.Equal(item.Value, value) {
			t.Fatalf("round %d: %d bytes at %q are stored, %v; want %d at %q", round, len(item.Value), item.Revision, err, len(value), revision)
		}
	}
	if c.Cuts() < rounds/20 {
		t.Errorf("only %d connections were cut", c.Cuts())
	}
	t.Logf("%d saves, %d cuts", rounds, c.Cuts())
}

// A server is killed and started again while several write. Nothing that was acknowledged is lost.
func TestServerRestarts(t *testing.T) {
	t.Parallel()
	apiServer := ownAPIServer(t)
	s := open(t, place(apiServer, apiServer.Address(), "program"))
	const writers, some = 4, 10
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var tasks sync.WaitGroup
	progress := make(chan int, 10_000)
	for i := range writers {
		tasks.Go(func() {
			for ctx.Err() == nil {
				_, err := storage.Update(ctx, s, fmt.Sprintf("writer/%d", i), func(old []byte) ([]byte, error) { return append(old, '+'), nil })
				if err != nil {
					_ = pause(ctx, 6) // the server is away
					continue
				}
				progress <- i
			}
		})
	}
	var acknowledged [writers]int
	wait := func() {
		t.Helper()
		var more [writers]int
		limit := time.After(patience)
		for more[0] < some || more[1] < some || more[2] < some || more[3] < some {
			select {
			case i := <-progress:
				acknowledged[i]++
				more[i]++
			case <-limit:
				t.Fatalf("not all writers get on: %v", more)
			}
		}
	}
	wait()
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		apiServer.End(signal)
		if err := apiServer.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		wait()
	}
	cancel()
	tasks.Wait()
	close(progress)
	for i := range progress {
		acknowledged[i]++
	}
	for i, n := range acknowledged {
		item, err := s.Load(t.Context(), fmt.Sprintf("writer/%d", i))
		if err != nil || len(item.Value) < n {
			t.Errorf("writer %d: %d increments are stored, %v; %d were acknowledged", i, len(item.Value), err, n)
		}
	}
}

// What a store has begun ends with it.
func TestClose(t *testing.T) {
	s := apiServer(t)
	before := runtime.NumGoroutine()
	store, err := Open(t.Context(), place(s, s.Address(), "program"), Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := storage.Check(t.Context(), store); err != nil {
		t.Error(err)
	}
	for key, err := range store.Watch(t.Context(), "") {
		if key != "" || err != nil {
			t.Errorf("Watch yields %q, %v", key, err)
		}
		break
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for runtime.NumGoroutine() > before {
		if wait.For(ctx, time.Millisecond) != nil {
			stacks := make([]byte, 1<<16)
			t.Fatalf("%d goroutines, %d before\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}
