package redis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/enginetest"
	"github.com/everseal/everseal/storage/internal/server"
)

// until calls f until it succeeds, however often connections are cut.
func until[T any](t *testing.T, f func() (T, error)) (result T) {
	t.Helper()
	eventually(t, func() (err error) {
		result, err = f()
		return err
	})
	return result
}

// Connections are cut at any byte. What was acknowledged stays, and nobody is told of a conflict who is alone.
func TestCutConnections(t *testing.T) {
	rounds := 400
	if raceDetector {
		rounds = 60
	}
	for _, kind := range kinds[:2] {
		t.Run(kind.name, func(t *testing.T) {
			d := kind.target(t)
			direct := d.open(t)
			u, _ := url.Parse(d.url)
			c := server.NewCutter(t, u.Host)
			u.Host = c.Address()
			s := target{u.String(), d.prefix}.open(t)
			var revision storage.Revision
			for round := range rounds {
				value := fmt.Appendf(bytes.Repeat([]byte("."), rand.IntN(9000)), " %d", round)
				revision = enginetest.SaveSurely(t, s, value, revision)
				if item, err := direct.Load(t.Context(), "a"); err != nil || item.Revision != revision || !bytes.Equal(item.Value, value) {
					t.Fatalf("round %d: %d bytes at %q are stored, %v; want %d at %q", round, len(item.Value), item.Revision, err, len(value), revision)
				}
			}
			if c.Cuts() < rounds/50 {
				t.Errorf("only %d connections were cut", c.Cuts())
			}
			t.Logf("%d saves, %d cuts", rounds, c.Cuts())
		})
	}
}

// A server with persistence is killed and started again while several write. Nothing that was acknowledged is lost.
func TestServerRestarts(t *testing.T) {
	for _, program := range []string{"redis-server", "valkey-server"} {
		t.Run(program, func(t *testing.T) {
			n := newNode(t, program, "appendonly yes", "appendfsync always")
			s := target{url: n.url()}.open(t)
			w := enginetest.StartWriters(t, s)
			w.Wait(t, 10)
			for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
				n.End(signal)
				if err := n.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
				w.Wait(t, 10)
			}
			wantAcknowledged(t, w, s)
		})
	}
}

// A server without persistence comes back empty. A store that has seen it does not take that for the truth: nobody orders all
// certificates anew. One that is opened then begins anew.
func TestServerForgets(t *testing.T) {
	n := newNode(t, "redis-server")
	d := target{url: n.url()}
	s := d.open(t)
	item := mustSave(t, s, "a", "x")
	for _, lose := range []func(){
		func() {
			n.End(syscall.SIGKILL)
			if err := n.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
		},
		func() { d.open(t) },           // another program begins anew
		func() { n.do(t, "flushall") }, // and loses it again
	} {
		lose()
		lost := func(err error) {
			t.Helper()
			wanted.Want(t, err, "has lost the records", "restart this program")
		}
		_, err := s.Load(t.Context(), "a")
		lost(err)
		_, err = s.Save(t.Context(), "a", nil, "")
		lost(err)
		_, err = s.Save(t.Context(), "a", nil, item.Revision)
		lost(err)
		lost(s.Delete(t.Context(), "a", item.Revision))
		lost(last(s.List(t.Context(), "")))
		lost(last(s.Scan(t.Context(), "a", "")))
	}
	s = d.open(t)
	mustSave(t, s, "a", "y")
	wantRecords(t, s, "a")
}

// A server that hangs holds nobody up whose context ends, and what was sent to it may still come.
func TestServerHangs(t *testing.T) {
	n := newNode(t, "redis-server")
	s := target{url: n.url()}.with("read_timeout", "1s").open(t)
	mustSave(t, s, "a", "w")
	item := mustSave(t, s, "a", "x") // so that the server knows the script
	if err := n.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	_, err := s.Save(t.Context(), "a", []byte("y"), item.Revision)
	wanted.Want(t, err, "not known whether it was done", "timeout")
	if errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v is taken for the caller's deadline", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := s.Load(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Load: %v, want the context's error", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	time.AfterFunc(time.Millisecond, cancel)
	if _, err := s.Load(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("Load: %v, want the context's error", err)
	}
	if err := n.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		item, err := s.Load(t.Context(), "a")
		if err == nil && string(item.Value) != "y" {
			err = errors.New("it has not come yet")
		}
		return err
	})
}

// A connection that leads nowhere must not hold up a caller whose context ends.
func TestContextWhileServerIsSilent(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	s, err := New(redis.NewClient(&redis.Options{Addr: listener.Addr().String(), ReadTimeout: time.Hour}), Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	defer s.client.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		if conn, err := listener.Accept(); err == nil {
			cancel()
			defer conn.Close()
			<-t.Context().Done()
		}
	}()
	if _, err := s.Load(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
}

// wantAcknowledged stops the writers and reports what was acknowledged and is not stored.
func wantAcknowledged(t *testing.T, w *enginetest.Writers, s storage.Store) {
	t.Helper()
	for i, n := range w.Stop() {
		item := until(t, func() (storage.Item, error) { return s.Load(t.Context(), fmt.Sprintf("writer/%d", i)) })
		if len(item.Value) < n {
			t.Errorf("writer %d: %d increments are stored; %d were acknowledged", i, len(item.Value), n)
		}
	}
}
