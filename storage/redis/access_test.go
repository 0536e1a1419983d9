package redis

import (
	"context"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/server"
)

// documentedUser returns the commands that doc.go shows to administrators.
func documentedUser(t *testing.T) (commands [][]any) {
	t.Helper()
	source, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(source)) {
		if rest, ok := strings.CutPrefix(line, "//\tACL "); ok {
			command := []any{"acl"}
			for _, word := range strings.Fields(rest) {
				command = append(command, word)
			}
			commands = append(commands, command)
		}
	}
	if len(commands) != 2 {
		t.Fatalf("doc.go shows %d users, want 2", len(commands))
	}
	return commands
}

// The user of the documentation may do what a store does, and no more.
func TestLeastPrivileges(t *testing.T) {
	commands := documentedUser(t)
	for _, program := range []string{"redis-server", "valkey-server"} {
		t.Run(program, func(t *testing.T) {
			n := newNode(t, program)
			n.do(t, commands[0]...)
			testLeastPrivileges(t, target{url: "redis://program:password@" + n.Address()}, n)
		})
	}
	t.Run("cluster", func(t *testing.T) {
		nodes := newCluster(t, 0)
		for _, n := range nodes {
			n.do(t, commands[0]...)
			n.do(t, commands[1]...)
		}
		d := target{url: strings.Replace(nodes.wait(t), "redis://", "redis://program:password@", 1)}
		testLeastPrivileges(t, d, nodes.masterOf(t, "{everseal}"))
	})
}

func testLeastPrivileges(t *testing.T, d target, n node) {
	s := d.open(t)
	if err := storage.Check(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	mustSave(t, s, "a", "x")
	mustSave(t, s, "a", "y")
	wantRecords(t, s, "a")
	w := startWatch(t.Context(), t, s, "a")
	mustSave(t, s, "a", "z")
	if key, err, _ := w.next(); key != "a" || err != nil {
		t.Errorf("Watch yields %q, %v", key, err)
	}
	if stats := n.do(t, "acl", "log"); len(stats.([]any)) > 0 {
		t.Errorf("the user was denied %v", stats)
	}
	client := redis.NewClient(&redis.Options{Addr: n.Address(), Username: "program", Password: "password", DisableIdentity: true})
	defer client.Close()
	for _, args := range [][]any{{"get", "other"}, {"set", "{everseals}", "x"}, {"keys", "*"}, {"flushall"}, {"config", "get", "*"}, {"publish", "other", "x"}} {
		if err := client.Do(t.Context(), args...).Err(); !redis.HasErrorPrefix(err, "NOPERM") {
			t.Errorf("%v: %v, want NOPERM", args, err)
		}
	}
	_, err := Open(t.Context(), d.url, Config{Prefix: "other"})
	wanted.Want(t, err, "Least privileges")
}

// newTLSNode starts a server with TLS alone, which wants a certificate of its clients.
func newTLSNode(t *testing.T, program string, lines ...string) (n node, files url.Values) {
	t.Helper()
	s, err := server.New(program, "")
	skip(t, err)
	t.Cleanup(s.Remove)
	certificate, key, err := s.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	file, err := s.Write("server.conf", append(lines, "port 0", "tls-port "+s.Port, "bind 127.0.0.1 127.0.0.2", `save ""`, "dir "+s.Folder, "tls-cert-file "+certificate,
		"tls-key-file "+key, "tls-ca-cert-file "+certificate)...)
	if err != nil {
		t.Fatal(err)
	}
	s.Arguments = []string{file}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return node{s}, url.Values{"cacert": {certificate}, "cert": {certificate}, "key": {key}}
}

func TestTLS(t *testing.T) {
	for _, program := range []string{"redis-server", "valkey-server"} {
		t.Run(program, func(t *testing.T) {
			n, files := newTLSNode(t, program, "requirepass "+quoted(password))
			open := func(scheme, host string, q url.Values) (*Store, error) {
				u := url.URL{Scheme: scheme, User: url.UserPassword("default", password), Host: host + ":" + n.Port, RawQuery: q.Encode()}
				return Open(t.Context(), u.String(), Config{})
			}
			for _, host := range []string{"127.0.0.1", "localhost"} {
				s, err := open("rediss", host, files)
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				if err := storage.Check(t.Context(), s); err != nil {
					t.Error(err)
				}
				startWatch(t.Context(), t, s, "")
			}
			_, err := open("rediss", "127.0.0.1", url.Values{"cert": files["cert"], "key": files["key"]})
			wanted.Want(t, err, "x509", "agree on TLS")
			// A server that is not the one of the certificate's name, and one that wants a certificate.
			_, err = open("rediss", "127.0.0.2", files)
			wanted.Want(t, err, "x509", "127.0.0.2", "agree on TLS")
			for name, q := range map[string]url.Values{"rediss": {"cacert": files["cacert"]}, "redis": {}} {
				s, err := open(name, "127.0.0.1", q)
				if err == nil { // it can't tell an alert from a broken connection
					_, err = s.Load(t.Context(), "a")
					_ = s.Close()
				}
				wanted.Want(t, err, "TLS")
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	n := newNode(t, "redis-server")
	s := target{url: n.url()}.open(t)
	if all := s.Warnings(t.Context()); len(all) != 1 || !strings.Contains(all[0].Error(), "appendonly") {
		t.Errorf("%v, want one about the append-only file", all)
	}
	n.do(t, "config", "set", "appendonly", "yes")
	if all := s.Warnings(t.Context()); len(all) != 0 {
		t.Errorf("%v, want none", all)
	}
	for address, want := range map[string]int{"db.example.com:6379": 1, "192.0.2.1:1": 1, "localhost:1": 0, "127.0.0.1:1": 0, "[::1]:1": 0, "/tmp/s": 0} {
		s.addresses = []string{"localhost:1", address}
		if all := s.Warnings(t.Context()); len(all) != want {
			t.Errorf("%s: %v, want %d", address, all, want)
		}
	}
	s.encrypted, s.addresses = true, []string{"db.example.com:6379"}
	if all := s.Warnings(t.Context()); len(all) != 0 {
		t.Errorf("with TLS: %v", all)
	}
	if _, ok := storage.As[interface{ Warnings(context.Context) []error }](s); !ok {
		t.Error("a manager does not find the warnings")
	}
}
