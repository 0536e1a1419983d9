package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/server"
	"github.com/everseal/everseal/storage/internal/wait"
)

// password has what passwords have that generators make, and what URLs and configuration files treat apart.
const password = `p@ss:w/o?r#d% '"\=&+;[é]`

// Shared are the servers that all tests use which do no harm to them.
var shared server.Shared

// A node is a server that runs.
type node struct{ *server.Server }

// quoted returns the text as a configuration file has it.
func quoted(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}

// start starts a program with lines of its configuration.
func start(program string, lines ...string) (*server.Server, error) {
	s, err := server.New(program, "")
	if err != nil {
		return nil, err
	}
	lines = append([]string{"port " + s.Port, "bind 127.0.0.1", "dir " + s.Folder, `save ""`, "appendonly no", "daemonize no", "enable-debug-command yes"}, lines...)
	file, err := s.Write("server.conf", lines...)
	if err != nil {
		return s, err
	}
	s.Arguments = []string{file}
	s.Ready = func(ctx context.Context) error {
		client := redis.NewClient(&redis.Options{Addr: s.Address(), MaxRetries: -1, DialerRetries: 1})
		defer client.Close()
		if err := client.Ping(ctx).Err(); err != nil && !redis.HasErrorPrefix(err, "NOAUTH") {
			return err
		}
		return nil
	}
	return s, s.Start(context.Background())
}

// newNode starts a server of the test alone.
func newNode(t testing.TB, program string, lines ...string) node {
	t.Helper()
	s, err := start(program, lines...)
	if s != nil {
		t.Cleanup(s.Remove)
	}
	skip(t, err)
	return node{s}
}

// skip skips the test if a server is missing. Valkey may be missing in CI too, as not every Debian has it.
func skip(t testing.TB, err error) {
	t.Helper()
	if err != nil && strings.Contains(err.Error(), "valkey") {
		if _, missing := server.Find("valkey-server"); missing != nil {
			t.Skip(err)
		}
	}
	server.Skip(t, err)
}

func (n node) url() string { return "redis://" + n.Address() }

// client returns the driver's own.
func (n node) client(t testing.TB) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: n.Address(), Password: n.password()})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func (n node) password() string {
	text, _ := os.ReadFile(filepath.Join(n.Folder, "server.conf"))
	if strings.Contains(string(text), "requirepass "+quoted(password)) {
		return password
	}
	return ""
}

// do runs a command.
func (n node) do(t testing.TB, args ...any) any {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: n.Address(), Password: n.password()})
	defer client.Close()
	reply, err := client.Do(t.Context(), args...).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		t.Fatalf("%v: %v", args, err)
	}
	return reply
}

// eventually runs f until it succeeds.
func eventually(t testing.TB, f func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), server.Patience)
	defer cancel()
	for runs := 1; ; runs++ {
		err := f()
		if err == nil {
			return
		}
		if wait.Before(ctx, min(runs, 6)) != nil {
			t.Fatalf("it never succeeds: %v", err)
		}
	}
}

// A target is where a store's records are.
type target struct{ url, prefix string }

func (d target) open(t testing.TB) *Store {
	t.Helper()
	s, err := Open(t.Context(), d.url, Config{Prefix: d.prefix})
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

// with returns the target with a parameter more in its URL.
func (d target) with(name, value string) target {
	u, _ := url.Parse(d.url)
	q := u.Query()
	q.Add(name, value)
	u.RawQuery = q.Encode()
	return target{u.String(), d.prefix}
}

var prefixes atomic.Int64

func newPrefix() string { return fmt.Sprintf("records-%d", prefixes.Add(1)) }

// kinds are all kinds of servers. Each target is an empty one, of the test alone.
var kinds = []struct {
	name   string
	target func(t testing.TB) target
}{
	{"Redis", func(t testing.TB) target { return newTarget(t, "redis-server") }},
	{"Valkey", func(t testing.TB) target { return newTarget(t, "valkey-server") }},
	{"Cluster", newClusterTarget},
}

func eachKind(t *testing.T, test func(t *testing.T, d target)) {
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) { test(t, kind.target(t)) })
	}
}

func sharedNode(t testing.TB, program string) node {
	t.Helper()
	s, err := shared.Server(program, func() (*server.Server, error) { return start(program, "requirepass "+quoted(password)) })
	skip(t, err)
	return node{s}
}

func newTarget(t testing.TB, program string) target {
	n := sharedNode(t, program)
	u := url.URL{Scheme: "redis", User: url.UserPassword("default", password), Host: n.Address()}
	return target{u.String(), newPrefix()}
}

// A clusterOf is the masters of a cluster.
type clusterOf []node

// startCluster makes a cluster of three masters, and of as many replicas if asked.
func startCluster(replicas int, startOne func(i int) (*server.Server, error)) (err error) {
	arguments := []string{"--cluster", "create"}
	var first *server.Server
	for i := range 3 * (1 + replicas) {
		s, err := startOne(i)
		if err != nil {
			return err
		}
		if first == nil {
			first = s
		}
		arguments = append(arguments, s.Address())
	}
	cli, err := server.Find("redis-cli")
	if err != nil {
		return err
	}
	return first.Run(cli, append(arguments, "--cluster-replicas", fmt.Sprint(replicas), "--cluster-yes")...)
}

func startClusterNode() (*server.Server, error) {
	return start("redis-server", "cluster-enabled yes", "cluster-node-timeout 2000", "cluster-require-full-coverage no", "appendonly yes")
}

var sharedCluster struct {
	sync.Once
	nodes clusterOf
	err   error
}

func newClusterTarget(t testing.TB) target {
	t.Helper()
	sharedCluster.Do(func() {
		sharedCluster.err = startCluster(0, func(i int) (*server.Server, error) {
			s, err := shared.Server(fmt.Sprintf("cluster %d", i), startClusterNode)
			sharedCluster.nodes = append(sharedCluster.nodes, node{s})
			return s, err
		})
	})
	skip(t, sharedCluster.err)
	return target{sharedCluster.nodes.wait(t), newPrefix()}
}

// newCluster makes a cluster of the test alone.
func newCluster(t testing.TB, replicas int) clusterOf {
	t.Helper()
	var nodes clusterOf
	err := startCluster(replicas, func(int) (*server.Server, error) {
		s, err := startClusterNode()
		if s != nil {
			t.Cleanup(s.Remove)
		}
		nodes = append(nodes, node{s})
		return s, err
	})
	skip(t, err)
	nodes.wait(t)
	return nodes
}

// wait returns the URL when all nodes agree.
func (c clusterOf) wait(t testing.TB) string {
	t.Helper()
	eventually(t, func() error {
		for _, n := range c {
			if info := fmt.Sprint(n.do(t, "cluster", "info")); !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_slots_assigned:16384") {
				return errors.New(info)
			}
		}
		return nil
	})
	u := target{url: c[0].url()}.with("cluster", "true")
	for _, n := range c[1:] {
		u = u.with("addr", n.Address())
	}
	return u.url
}

// masterOf returns the node that has the key's slot.
func (c clusterOf) masterOf(t testing.TB, key string) node {
	t.Helper()
	var found node
	eventually(t, func() error {
		for _, n := range c {
			if err := n.client(t).Do(t.Context(), "getex", key).Err(); err == nil || errors.Is(err, redis.Nil) {
				found = n
				return nil
			}
		}
		return errors.New("nobody has the slot")
	})
	return found
}

// unreachable returns the address of nobody.
func unreachableAddress(t testing.TB) string {
	t.Helper()
	port, err := server.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", port)
}

// mustSave saves whatever is there.
func mustSave(t testing.TB, s storage.Store, key, value string) storage.Item {
	t.Helper()
	item, err := storage.Update(t.Context(), s, key, func([]byte) ([]byte, error) { return []byte(value), nil })
	if err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	return item
}
