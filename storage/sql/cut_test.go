package sql

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/everseal/everseal/storage"
)

// A cutter leads connections to a server and cuts each after some bytes, of which nobody knows how many.
type cutter struct {
	net.Listener
	server string
	cuts   atomic.Int64
	tasks  sync.WaitGroup
}

func startCutter(t *testing.T, server string) *cutter {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{Listener: listener, server: server}
	c.tasks.Go(func() {
		for {
			client, err := c.Accept()
			if err != nil {
				return
			}
			c.tasks.Go(func() { c.lead(client) })
		}
	})
	t.Cleanup(func() {
		_ = c.Close()
		c.tasks.Wait()
	})
	return c
}

func (c *cutter) lead(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", c.server)
	if err != nil {
		return
	}
	var ways sync.WaitGroup
	defer ways.Wait()
	defer server.Close()
	defer client.Close()
	const most = 60_000
	cut := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		ways.Go(func() {
			if _, err := io.CopyN(way[1], way[0], rand.Int64N(most)); err == nil {
				c.cuts.Add(1)
			}
			cut <- struct{}{}
		})
	}
	<-cut
}

// through returns the target as it is behind the cutter.
func (c *cutter) through(t *testing.T, d target) target {
	t.Helper()
	u, err := url.Parse(d.url)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = c.Addr().String()
	return target{u.String(), d.table}
}

// until calls f until it succeeds, however often connections are cut.
func until[T any](t *testing.T, f func() (T, error)) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		result, err := f()
		if err == nil {
			return result
		}
		if ctx.Err() != nil {
			t.Fatalf("it never succeeds: %v", err)
		}
	}
}

// Connections are cut at any byte. What was acknowledged stays, and nobody is told of a conflict who is alone.
func TestCutConnections(t *testing.T) {
	t.Parallel() // with those that mostly wait
	rounds := 400
	if raceDetector {
		rounds = 60
	}
	for _, kind := range kinds[1:] {
		t.Run(kind.name, func(t *testing.T) {
			d := kind.target(t)
			direct := d.open(t)
			u, _ := url.Parse(d.url)
			c := startCutter(t, u.Host)
			s := c.through(t, d).open(t)
			var revision storage.Revision
			for round := range rounds {
				value := fmt.Appendf(bytes.Repeat([]byte("."), rand.IntN(9000)), " %d", round)
				revision = saveSurely(t, s, value, revision)
				if item, err := direct.Load(t.Context(), "a"); err != nil || item.Revision != revision || !bytes.Equal(item.Value, value) {
					t.Fatalf("round %d: %d bytes at %q are stored, %v; want %d at %q", round, len(item.Value), item.Revision, err, len(value), revision)
				}
			}
			if c.cuts.Load() < int64(rounds)/50 {
				t.Errorf("only %d connections were cut", c.cuts.Load())
			}
			t.Logf("%d saves, %d cuts", rounds, c.cuts.Load())
		})
	}
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
	t.Parallel() // with those that mostly wait
	tests := []struct {
		name      string
		start     func() (*server, error)
		target    func(s *server) target
		terminate syscall.Signal // ends it without waiting for its clients
	}{
		{"PostgreSQL", func() (*server, error) { return startPostgres() }, func(s *server) target {
			return target{url: s.postgresURL("postgres", password, "postgres")}
		}, syscall.SIGINT},
		{"MariaDB", func() (*server, error) { return startMariaDB() }, func(s *server) target {
			return target{url: s.mariadbURL("everseal", password, "everseal")}
		}, syscall.SIGTERM},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server, err := test.start()
			if server != nil {
				t.Cleanup(server.remove)
			}
			skipWithout(t, err)
			s := test.target(server).open(t)
			w := startWriters(t, s)
			w.wait(t)
			for _, signal := range []syscall.Signal{syscall.SIGKILL, test.terminate} {
				server.end(signal)
				if err := server.start(); err != nil {
					t.Fatal(err)
				}
				w.wait(t)
			}
			for i, n := range w.stop() {
				item, err := s.Load(t.Context(), fmt.Sprintf("writer/%d", i))
				if err != nil || len(item.Value) < n {
					t.Errorf("writer %d: %d increments are stored, %v; %d were acknowledged", i, len(item.Value), err, n)
				}
			}
		})
	}
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
	timer := time.AfterFunc(patience, func() {
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
