package engines

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/everseal/everseal/storage/internal/server"
)

const password = `p@ss:w/o?r#d% '"\=&+;[é]`

// shared are the servers of all tests.
var shared server.Shared

var places atomic.Int64

func newDir(t testing.TB) place {
	return place{url: "dir:" + filepath.Join(t.TempDir(), "store")}
}

func newSQLite(t testing.TB) place {
	return place{url: "sqlite://" + filepath.Join(t.TempDir(), "store.db")}
}

func newPostgres(t testing.TB) place {
	return placeAt(t, "PostgreSQL", startPostgres, func(address, name string) string {
		return databaseURL("postgres", "postgres", address, "postgres") + "?sslmode=disable#" + name
	})
}

func newMariaDB(t testing.TB) place {
	return placeAt(t, "MariaDB", startMariaDB, func(address, name string) string {
		return databaseURL("mysql", "everseal", address, "everseal") + "#" + name
	})
}

func newEtcd(t testing.TB) place {
	return placeAt(t, "etcd", startEtcd, func(address, name string) string { return "etcd://" + address + "/" + name })
}

func newRedis(t testing.TB) place {
	return placeAt(t, "Redis", startRedis, func(address, name string) string { return "redis://" + address + "?prefix=" + name })
}

func newS3(t testing.TB) place {
	return placeAt(t, "S3", startS3, func(address, name string) string {
		u := url.URL{Scheme: "s3", User: url.UserPassword("root", "secret"), Host: "records", Path: "/" + name,
			RawQuery: url.Values{"endpoint": {"http://" + address}}.Encode()}
		return u.String()
	})
}

func newNATS(t testing.TB) place {
	return placeAt(t, "NATS", startNATS, func(address, name string) string { return "nats://" + address + "/" + name })
}

func newKubernetes(t testing.TB) place {
	s, err := shared.Server("Kubernetes", startKubernetes)
	server.Skip(t, err)
	return placeAt(t, "Kubernetes", startKubernetes, func(address, name string) string { return kubernetesURL(s, address, name) })
}

// placeAt returns the place whose URL is that at the address of the server, which start starts the first time.
func placeAt(t testing.TB, engine string, start func() (*server.Server, error), at func(address, name string) string) place {
	t.Helper()
	s, err := shared.Server(engine, start)
	server.Skip(t, err)
	name := fmt.Sprintf("place_%d", places.Add(1))
	by := func(address string) string { return at(address, name) }
	return place{by(s.Address()), s.Address(), by}
}

func databaseURL(scheme, user, address, database string) string {
	u := url.URL{Scheme: scheme, User: url.UserPassword(user, password), Host: address, Path: "/" + database}
	return u.String()
}

// started starts the server.
func started(s *server.Server, err error) (*server.Server, error) {
	if err != nil {
		return s, err
	}
	return s, s.Start(context.Background())
}

// answers returns a Ready for a server that takes connections before it answers: a store at the URL can load.
func answers(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		s, closer, err := open(ctx, url)
		if err != nil {
			return err
		}
		defer closer.Close()
		if _, err := s.Load(ctx, "ready"); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
}

func startPostgres() (*server.Server, error) {
	s, err := server.Postgres(password, "-c", "fsync=off")
	if err == nil {
		s.Ready = answers(databaseURL("postgres", "postgres", s.Address(), "postgres"))
	}
	return started(s, err)
}

func startMariaDB() (*server.Server, error) {
	s, err := server.MariaDB(password, "--innodb-flush-log-at-trx-commit=0")
	if err == nil {
		s.Ready = answers(databaseURL("mysql", "everseal", s.Address(), "everseal"))
	}
	return started(s, err)
}

func startEtcd() (*server.Server, error) {
	s, err := built("etcdserver")
	if err != nil {
		return s, err
	}
	var here [3]string
	for i := range here {
		port := s.Port
		if i > 0 {
			if port, err = server.FreePort(); err != nil {
				return s, err
			}
		}
		here[i] = "http://" + net.JoinHostPort("127.0.0.1", port)
	}
	s.Arguments = []string{
		"--name", "one", "--data-dir", filepath.Join(s.Folder, "data"), "--log-level", "error", "--unsafe-no-fsync",
		"--listen-client-urls", here[0], "--advertise-client-urls", here[0], "--listen-metrics-urls", here[1],
		"--listen-peer-urls", here[2], "--initial-advertise-peer-urls", here[2], "--initial-cluster", "one=" + here[2],
	}
	s.Ready = func(ctx context.Context) error { return wantOK(ctx, here[1]+"/health") }
	return started(s, nil)
}

// wantOK returns an error unless a GET is answered with 200.
func wantOK(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %s", response.Status)
	}
	return nil
}

func startRedis() (*server.Server, error) {
	s, err := server.New("redis-server", "")
	if err == nil {
		s.Arguments = []string{"--port", s.Port, "--bind", "127.0.0.1", "--dir", s.Folder, "--save", "", "--appendonly", "no"}
	}
	return started(s, err)
}

func startS3() (*server.Server, error) {
	s, err := built("s3server")
	if err == nil {
		if err := os.MkdirAll(filepath.Join(s.Folder, "buckets", "records"), 0o700); err != nil {
			return s, err
		}
		s.Arguments = []string{"-port", s.Port, "-folder", s.Folder, "-root", "root:secret", "-user", "user:secret"}
	}
	return started(s, err)
}

func startNATS() (*server.Server, error) {
	s, err := built("natsserver")
	if err != nil {
		return s, err
	}
	file, err := s.Write("server.conf", `listen: "`+s.Address()+`"`, `jetstream { store_dir: "`+filepath.Join(s.Folder, "data")+`" }`)
	if err != nil {
		return s, err
	}
	s.Arguments = []string{file}
	s.Ready = answers("nats://" + s.Address() + "/ready")
	return started(s, nil)
}

func startKubernetes() (*server.Server, error) {
	program, err := server.BuildLarge(filepath.Join("..", "server", "kubernetesserver"))
	if err != nil {
		return nil, err
	}
	s, err := server.New(program, "")
	if err != nil {
		return nil, err
	}
	certificate, key, err := s.Certificate()
	if err != nil {
		return s, err
	}
	const token = "a-token-of-the-administrator"
	tokens, err := s.Write("tokens.csv", token+`,admin,1,"system:masters"`)
	if err != nil {
		return s, err
	}
	if _, err := s.Write("token", token); err != nil {
		return s, err
	}
	roles, err := filepath.Abs(filepath.Join("..", "..", "kubernetes", "rbac.yaml"))
	if err != nil {
		return s, err
	}
	s.Arguments = []string{"-port", s.Port, "-folder", s.Folder, "-certificate", certificate, "-key", key, "-tokens", tokens, "-roles", roles, "-clients", certificate}
	s.Ready = answers(kubernetesURL(s, s.Address(), "ready"))
	return started(s, nil)
}

// kubernetesURL returns the URL of records in the server's Secrets, by way of an address.
func kubernetesURL(s *server.Server, address, name string) string {
	query := url.Values{"token": {filepath.Join(s.Folder, "token")}, "ca": {filepath.Join(s.Folder, "server.pem")}}
	u := url.URL{Scheme: "kubernetes", Host: address, Path: "/certificates/" + strings.ReplaceAll(name, "_", "-"), RawQuery: query.Encode()}
	return u.String()
}

// built returns a server of a program of this repository.
func built(name string) (*server.Server, error) {
	program, err := server.Build(filepath.Join("..", "server", name))
	if err != nil {
		return nil, err
	}
	return server.New(program, "")
}
