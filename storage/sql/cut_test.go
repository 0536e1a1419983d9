package sql

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/url"
	"syscall"
	"testing"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/enginetest"
	"github.com/everseal/everseal/storage/internal/server"
)

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
			c := server.NewCutter(t, u.Host)
			u.Host = c.Address()
			s := target{u.String(), d.table}.open(t)
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

// A server is killed and started again while several write. Nothing that was acknowledged is lost.
func TestServerRestarts(t *testing.T) {
	t.Parallel() // with those that mostly wait
	tests := []struct {
		name      string
		start     func() (node, error)
		target    func(n node) target
		terminate syscall.Signal // ends it without waiting for its clients
	}{
		{"PostgreSQL", func() (node, error) { return startPostgres() }, func(n node) target {
			return target{url: n.postgresURL("postgres", password, "postgres")}
		}, syscall.SIGINT},
		{"MariaDB", func() (node, error) { return startMariaDB() }, func(n node) target {
			return target{url: n.mariadbURL("everseal", password, "everseal")}
		}, syscall.SIGTERM},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			n, err := test.start()
			t.Cleanup(n.remove)
			server.Skip(t, err)
			s := test.target(n).open(t)
			w := enginetest.StartWriters(t, s)
			w.Wait(t, 10)
			for _, signal := range []syscall.Signal{syscall.SIGKILL, test.terminate} {
				n.End(signal)
				if err := n.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
				w.Wait(t, 10)
			}
			for i, count := range w.Stop() {
				item, err := s.Load(t.Context(), fmt.Sprintf("writer/%d", i))
				if err != nil || len(item.Value) < count {
					t.Errorf("writer %d: %d increments are stored, %v; %d were acknowledged", i, len(item.Value), err, count)
				}
			}
		})
	}
}
