package engines

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strings"
	"testing"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/etcd"
	"github.com/everseal/everseal/storage/kubernetes"
	"github.com/everseal/everseal/storage/nats"
	"github.com/everseal/everseal/storage/redis"
	"github.com/everseal/everseal/storage/s3"
	"github.com/everseal/everseal/storage/sql"
)

// engines are all there are. Each place is an empty one, of the test alone.
var engines = []struct {
	name  string
	place func(t testing.TB) place
}{
	{"Dir", newDir},
	{"SQLite", newSQLite},
	{"PostgreSQL", newPostgres},
	{"MariaDB", newMariaDB},
	{"etcd", newEtcd},
	{"Redis", newRedis},
	{"NATS", newNATS},
	{"S3", newS3},
	{"Kubernetes", newKubernetes},
}

// A place is where a store's records are.
type place struct {
	url     string
	address string                      // of the server; empty: there is none
	by      func(address string) string // returns the URL by way of another address
}

// open opens the store that is at the URL.
func open(ctx context.Context, url string) (storage.Store, io.Closer, error) {
	scheme, rest, _ := strings.Cut(url, ":")
	switch scheme {
	case "dir":
		return storage.Dir(rest), io.NopCloser(nil), nil
	case "etcd":
		s, err := etcd.Open(ctx, url, etcd.Config{})
		return s, s, err
	case "kubernetes":
		s, err := kubernetes.Open(ctx, url, kubernetes.Config{})
		return s, s, err
	case "nats":
		s, err := nats.Open(ctx, url, nats.Config{})
		return s, s, err
	case "redis":
		s, err := redis.Open(ctx, url, redis.Config{})
		return s, s, err
	case "s3":
		s, err := s3.Open(ctx, url, s3.Config{})
		return s, s, err
	}
	address, table, _ := strings.Cut(url, "#")
	s, err := sql.Open(ctx, address, sql.Config{Table: table})
	return s, s, err
}

func openStore(t testing.TB, url string) storage.Store {
	t.Helper()
	s, closer, err := open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := closer.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// eachEngine runs a test for each engine, all at once.
func eachEngine(t *testing.T, test func(t *testing.T, p place)) {
	if raceDetector {
		t.Skip("processes do the work, and what they do is under the race detector in each engine's own tests")
	}
	t.Parallel()
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			test(t, e.place(t))
		})
	}
}

// TestString has each store say where its records are, as a manager's log does.
func TestString(t *testing.T) {
	for _, e := range engines {
		if e.name == "Dir" {
			continue // it is a string, the folder's
		}
		t.Run(e.name, func(t *testing.T) {
			p := e.place(t)
			s := openStore(t, p.url)
			said := fmt.Sprint(s)
			if !strings.Contains(said, p.address) || said == "" || strings.ContainsAny(said, "\n{&") {
				t.Errorf("it calls itself %q, want one line with the address %q", said, p.address)
			}
			u, err := url.Parse(p.url)
			if err != nil {
				t.Fatal(err)
			}
			if password, _ := u.User.Password(); password != "" && strings.Contains(said, password) {
				t.Errorf("%q has the password", said)
			}
		})
	}
}
