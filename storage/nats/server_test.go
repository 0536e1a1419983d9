package nats

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	driver "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/everseal/everseal/storage/internal/server"
)

// program builds the server that the tests talk to, once.
var program = sync.OnceValues(func() (string, error) {
	return server.Build(filepath.Join("..", "internal", "server", "natsserver"))
})

// newServer returns one that does not run yet, with these lines in its configuration besides those that it needs.
func newServer(lines ...string) (*server.Server, error) {
	path, err := program()
	if err != nil {
		return nil, err
	}
	s, err := server.New(path, "")
	if err != nil {
		return nil, err
	}
	return s, configure(s, lines...)
}

// configure writes the server's configuration.
func configure(s *server.Server, lines ...string) error {
	jetStream := `jetstream { store_dir: "` + filepath.Join(s.Folder, "data") + `" }`
	for _, line := range lines {
		if strings.HasPrefix(line, "jetstream ") {
			jetStream = ""
		}
	}
	file, err := s.Write("server.conf", append([]string{`listen: "` + s.Address() + `"`, jetStream}, lines...)...)
	s.Arguments = []string{file}
	return err
}

// start starts the server of a test, which ends with it.
func start(t testing.TB, s *server.Server, err error) *server.Server {
	t.Helper()
	if s != nil {
		t.Cleanup(s.Remove)
	}
	server.Skip(t, err)
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// shared is the server of all tests that need none of their own.
var shared server.Shared

func sharedServer(t testing.TB) *server.Server {
	t.Helper()
	s, err := shared.Server("nats", func() (*server.Server, error) {
		s, err := newServer()
		if err != nil {
			return s, err
		}
		return s, s.Start(context.Background())
	})
	server.Skip(t, err)
	return s
}

// A target is where a store's records are.
type target struct{ url string }

var buckets atomic.Int64

// targetAt returns a bucket of the test alone.
func targetAt(addresses ...string) target {
	return target{fmt.Sprintf("nats://%s/tests-%d", strings.Join(addresses, ","), buckets.Add(1))}
}

func newTarget(t testing.TB) target { return targetAt(sharedServer(t).Address()) }

func (d target) open(t testing.TB) *Store { return d.openWith(t, Config{}) }

func (d target) openWith(t testing.TB, c Config) *Store {
	t.Helper()
	s, err := Open(t.Context(), d.url, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// adminOf returns a client as administrators and other programs have it.
func adminOf(t testing.TB, s *server.Server, options ...driver.Option) jetstream.JetStream {
	t.Helper()
	conn, err := driver.Connect("nats://"+s.Address(), options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	client, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// through returns the target as it is behind the cutter.
func through(c *server.Cutter, s *server.Server, d target) target {
	return target{strings.Replace(d.url, s.Address(), c.Address(), 1)}
}
