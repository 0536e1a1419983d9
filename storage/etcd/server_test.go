package etcd

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/everseal/everseal/storage/internal/server"
)

// program builds the etcd that the tests talk to, once.
var program = sync.OnceValues(func() (string, error) {
	return server.Build(filepath.Join("..", "internal", "server", "etcdserver"))
})

// newMember returns a cluster of one, which does not run yet. It is healthy when it has a leader.
func newMember(arguments ...string) (*server.Server, error) {
	path, err := program()
	if err != nil {
		return nil, err
	}
	s, err := server.New(path, "")
	if err != nil {
		return nil, err
	}
	peer, err := server.FreePort()
	if err != nil {
		return s, err
	}
	metrics, err := server.FreePort()
	if err != nil {
		return s, err
	}
	here := func(port string) string { return "http://" + net.JoinHostPort("127.0.0.1", port) }
	s.Arguments = append([]string{
		"--name", "one", "--data-dir", filepath.Join(s.Folder, "data"), "--log-level", "error",
		"--listen-client-urls", here(s.Port), "--advertise-client-urls", here(s.Port), "--listen-metrics-urls", here(metrics),
		"--listen-peer-urls", here(peer), "--initial-advertise-peer-urls", here(peer), "--initial-cluster", "one=" + here(peer),
	}, arguments...)
	s.Ready = func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, here(metrics)+"/health", nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("it is not healthy: %s", response.Status)
		}
		return nil
	}
	return s, nil
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

// shared is the server of all tests that need none of their own. It does not wait for the disk.
var shared server.Shared

func sharedServer(t testing.TB) *server.Server {
	t.Helper()
	s, err := shared.Server("etcd", func() (*server.Server, error) {
		s, err := newMember("--unsafe-no-fsync", "--quota-backend-bytes", "8000000000")
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

var prefixes atomic.Int64

// targetAt returns an empty prefix of the test alone.
func targetAt(addresses ...string) target {
	return target{fmt.Sprintf("etcd://%s/tests/%d", strings.Join(addresses, ","), prefixes.Add(1))}
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

// newClient returns a client as administrators and other programs have it.
func newClient(t testing.TB, c clientv3.Config) *clientv3.Client {
	t.Helper()
	c.Logger = zap.NewNop()
	client, err := clientv3.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func adminOf(t testing.TB, s *server.Server) *clientv3.Client {
	t.Helper()
	return newClient(t, clientv3.Config{Endpoints: []string{s.Address()}})
}

// through returns the target as it is behind the cutter.
func through(c *server.Cutter, s *server.Server, d target) target {
	return target{strings.Replace(d.url, s.Address(), c.Address(), 1)}
}
