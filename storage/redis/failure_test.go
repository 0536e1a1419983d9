package redis

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/enginetest"
)

// secret is a password that nobody has.
const secret = `s3cr#t:/?@[%&='"\ é`

var wanted = enginetest.Errors{Package: "storage/redis", Secrets: []string{password, secret}}

// A failing is a server that can't be used, and what the error has to say.
type failing struct {
	name  string
	url   string
	opens bool     // Open leaves it to the first use
	want  []string // in the error
}

// wantFailures opens and uses what can't work. Each error has to name the place, the key and the cure, and no password, not even
// escaped.
func wantFailures(t *testing.T, all []failing) {
	for _, f := range all {
		t.Run(f.name, func(t *testing.T) {
			s, err := Open(t.Context(), f.url, Config{Prefix: "failing"})
			if f.opens != (err == nil) {
				t.Fatalf("Open: %v", err)
			}
			if err != nil {
				wanted.Want(t, err, append(f.want, "prefix failing: open")...)
				return
			}
			defer s.Close()
			_, err = s.Save(t.Context(), "certificates/a", []byte("x"), "")
			wanted.Want(t, err, append(f.want, `save "certificates/a"`, "prefix failing")...)
			_, loadErr := s.Load(t.Context(), "certificates/a")
			for _, scanErr := range s.Scan(t.Context(), "", "") {
				wanted.NoSecret(t, scanErr)
			}
			for _, watchErr := range s.Watch(t.Context(), "") {
				wanted.NoSecret(t, watchErr)
			}
			wanted.NoSecret(t, loadErr)
			wanted.NoSecret(t, s.Delete(t.Context(), "certificates/a", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
		})
	}
}

// last returns the error that a sequence ends with.
func last[V any](all iter.Seq2[V, error]) (last error) {
	for _, last = range all {
	}
	return last
}

func TestFailures(t *testing.T) {
	plain := newNode(t, "redis-server", "requirepass "+quoted(password))
	as := func(user, secret, address string) string {
		u := url.URL{Scheme: "redis", User: url.UserPassword(user, secret), Host: address}
		return u.String()
	}
	plain.do(t, "acl", "setuser", "reader", "on", ">reader", "~*", "&*", "+@read", "+getex", "+@scripting", "+hello")
	plain.do(t, "acl", "setuser", "elsewhere", "on", ">elsewhere", "~other*", "&*", "+@all")
	plain.do(t, "acl", "setuser", "deaf", "on", ">deaf", "~*", "resetchannels", "+@all")
	replica := newNode(t, "redis-server", "replicaof 127.0.0.1 "+plain.Port, "masterauth "+quoted(password))
	writable := newNode(t, "redis-server", "replicaof 127.0.0.1 "+plain.Port, "masterauth "+quoted(password), "replica-read-only no")
	evicting := newNode(t, "redis-server", "maxmemory 100mb", "maxmemory-policy allkeys-lru")
	clustered := newNode(t, "redis-server", "cluster-enabled yes")
	sentinel := newNode(t, "redis-sentinel")
	for _, n := range []node{replica, writable} {
		eventually(t, func() error {
			if info := fmt.Sprint(n.do(t, "info", "replication")); !strings.Contains(info, "master_link_status:up") {
				return errors.New(info)
			}
			return nil
		})
	}
	right := as("default", password, plain.Address())
	foreign := newNode(t, "redis-server")
	foreign.do(t, "set", "{failing}", "a page")
	later := newNode(t, "redis-server")
	later.do(t, "set", "{failing}", "everseal 2 ABC")
	wantFailures(t, []failing{
		{"unreachable", as("default", secret, unreachableAddress(t)), true, []string{"refused", "whether the server runs"}},
		{"no socket", "unix://default@/none/redis.sock", true, []string{"/none/redis.sock", "no such file", "whether the server runs"}},
		{"wrong password", as("default", secret, plain.Address()), false, []string{"WRONGPASS", "correct user and password", plain.Address()}},
		{"no password", "redis://" + plain.Address(), false, []string{"NOAUTH", "give user and password"}},
		{"no rights", as("reader", "reader", plain.Address()), false, []string{"Least privileges"}},
		{"other keys", as("elsewhere", "elsewhere", plain.Address()), false, []string{"Least privileges"}},
		{"no channels", as("deaf", "deaf", plain.Address()), false, []string{"Least privileges"}},
		{"a replica", replica.url(), false, []string{"replica", "connect to the master"}},
		{"a replica that takes changes", writable.url(), false, []string{"replica", "connect to the master"}},
		{"a cache", evicting.url(), false, []string{"noeviction"}},
		{"a node of a cluster", clustered.url(), false, []string{"cluster=true"}},
		{"no cluster", right + "?cluster=true", false, []string{"leave out cluster=true"}},
		{"a sentinel", sentinel.url(), false, []string{"master_name"}},
		{"an unknown master", "redis://" + sentinel.Address() + "?master_name=none", false, []string{`master "none"`, "sentinels"}},
		{"no TLS", strings.Replace(right, "redis:", "rediss:", 1) + "?dial_timeout=100ms", true, []string{"TLS"}},
		{"another program's key", foreign.url(), false, []string{"something else", "Config.Prefix"}},
		{"another version", later.url(), false, []string{"another version"}},
	})
	t.Run("Check of a replica", func(t *testing.T) {
		s, err := New(replica.client(t), Config{})
		if err != nil {
			t.Fatal(err)
		}
		var broken *storage.ContractError
		if err := storage.Check(t.Context(), s); err == nil || errors.As(err, &broken) || !strings.Contains(err.Error(), "connect to the master") {
			t.Error(err)
		}
	})
}

// What a server quotes of a command that it does not know may be a password or a private key.
func TestUnknownCommand(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for {
					var buffer [4096]byte
					if _, err := conn.Read(buffer[:]); err != nil {
						return
					}
					_, _ = fmt.Fprintf(conn, "-ERR unknown command 'AUTH', with args beginning with: 'default' '%s' \r\n", secret)
				}
			}()
		}
	}()
	u := url.URL{Scheme: "redis", User: url.UserPassword("default", secret), Host: listener.Addr().String()}
	_, err = Open(t.Context(), u.String(), Config{})
	wanted.Want(t, err, "unknown command", "proxy")
}

// Reads go to the master alone: where it has become a replica under a connection, its old truth is refused.
func TestMasterBecomesReplica(t *testing.T) {
	master := newNode(t, "redis-server")
	s := target{url: master.url()}.open(t)
	item := mustSave(t, s, "a", "old")
	master.do(t, "replicaof", "127.0.0.1", strings.TrimPrefix(unreachableAddress(t), "127.0.0.1:"))
	_, err := s.Load(t.Context(), "a")
	wanted.Want(t, err, "READONLY", "replica")
	_, err = s.Save(t.Context(), "a", nil, item.Revision)
	wanted.Want(t, err, "READONLY", "replica")
	wanted.Want(t, last(s.List(t.Context(), "")), "READONLY", "replica")
	wanted.Want(t, last(s.Scan(t.Context(), "", "")), "READONLY", "replica")
	master.do(t, "replicaof", "no", "one")
	if item, err := s.Load(t.Context(), "a"); err != nil || string(item.Value) != "old" {
		t.Errorf("Load by a master again: %q, %v", item.Value, err)
	}
}

func TestMemoryFull(t *testing.T) {
	n := newNode(t, "redis-server")
	d := target{url: n.url()}
	s := d.open(t)
	item := mustSave(t, s, "a", "small")
	n.do(t, "config", "set", "maxmemory", "1mb")
	for _, key := range []string{"a", "b"} {
		old := item.Revision
		if key == "b" {
			old = ""
		}
		_, err := s.Save(t.Context(), key, make([]byte, storage.MaxValue), old)
		wanted.Want(t, err, "OOM", "memory is full", "save")
	}
	wantRecords(t, s, "a")
	// A program that starts can read, and what is deleted makes room.
	started := d.open(t)
	if got, err := started.Load(t.Context(), "a"); err != nil || string(got.Value) != "small" {
		t.Errorf("Load with a full memory: %q, %v", got.Value, err)
	}
	if err := started.Delete(t.Context(), "a", item.Revision); err != nil {
		t.Errorf("Delete with a full memory: %v", err)
	}
	wantRecords(t, s)
}

// wantRecords lists and scans.
func wantRecords(t *testing.T, s *Store, want ...string) {
	t.Helper()
	var listed, scanned []string
	for key, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		listed = append(listed, key)
	}
	for record, err := range s.Scan(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		scanned = append(scanned, record.Key)
	}
	if !slices.Equal(listed, want) || !slices.Equal(scanned, want) {
		t.Errorf("List yields %q, Scan %q, want %q", listed, scanned, want)
	}
}

// A server that can't save to its disk takes no changes, but what it has can be read.
func TestDiskFails(t *testing.T) {
	n := newNode(t, "redis-server", "save 3600 1")
	d := target{url: n.url()}
	s := d.open(t)
	item := mustSave(t, s, "a", "x")
	if err := os.RemoveAll(n.Folder); err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(&redis.Options{Addr: n.Address()})
	defer client.Close()
	client.BgSave(t.Context())
	eventually(t, func() error {
		if info := client.Info(t.Context(), "persistence").Val(); !strings.Contains(info, "rdb_last_bgsave_status:err") {
			return errors.New(info)
		}
		return nil
	})
	_, err := s.Save(t.Context(), "a", []byte("y"), item.Revision)
	wanted.Want(t, err, "MISCONF", "disk")
	for _, s := range []*Store{s, d.open(t)} {
		if got, err := s.Load(t.Context(), "a"); err != nil || string(got.Value) != "x" {
			t.Errorf("Load: %q, %v", got.Value, err)
		}
		wantRecords(t, s, "a")
	}
}

// A master that was cut off from its replicas does not know whether there is a newer one: what it says is not the truth.
func TestTooFewReplicas(t *testing.T) {
	n := newNode(t, "redis-server")
	s := target{url: n.url()}.open(t)
	item := mustSave(t, s, "a", "x")
	n.do(t, "config", "set", "min-replicas-to-write", "1")
	_, err := s.Load(t.Context(), "a")
	wanted.Want(t, err, "NOREPLICAS", "min-replicas-to-write")
	_, err = s.Save(t.Context(), "a", nil, item.Revision)
	wanted.Want(t, err, "NOREPLICAS", "min-replicas-to-write")
}

// A server forgets scripts when it is told to, and when it is restarted.
func TestScriptsFlushed(t *testing.T) {
	eachKind(t, func(t *testing.T, d target) {
		s := d.open(t)
		revision := storage.Revision("")
		for range 3 {
			n, err := s.node(t.Context(), s.markKey)
			if err != nil {
				t.Fatal(err)
			}
			if err := n.ScriptFlush(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			if revision, err = s.Save(t.Context(), "a", nil, revision); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Delete(t.Context(), "a", revision); err != nil {
			t.Fatal(err)
		}
	})
}

// A record that another program has written, and a key of the index whose record has gone.
func TestStrangeRecords(t *testing.T) {
	n := newNode(t, "redis-server")
	s := target{url: n.url()}.open(t)
	for _, key := range []string{"a", "b", "c"} {
		mustSave(t, s, key, "x")
	}
	n.do(t, "set", s.record("a"), "a page")
	n.do(t, "del", s.record("b"))
	_, err := s.Load(t.Context(), "a")
	wanted.Want(t, err, "not written by this library", `load "a"`)
	if _, err := s.Load(t.Context(), "b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load of what is only in the index: %v", err)
	}
	found := map[string]bool{}
	for record, err := range s.Scan(t.Context(), "", "") {
		found[record.Key] = err == nil
	}
	if broken, ok := found["a"]; len(found) != 2 || !ok || broken || !found["c"] {
		t.Errorf("Scan finds %v", found)
	}
	if _, err := s.Save(t.Context(), "b", nil, ""); err != nil {
		t.Errorf("Save of what is only in the index: %v", err)
	}
	n.do(t, "del", s.index)
	n.do(t, "set", s.index, "a page")
	wanted.Want(t, last(s.List(t.Context(), "")), "WRONGTYPE", "Config.Prefix")
}
