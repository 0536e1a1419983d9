package sql

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/server"
	"github.com/everseal/everseal/storage/internal/wait"
	"github.com/everseal/everseal/storage/storagetest"
)

// startPgBouncer starts a pooler in transaction mode before the shared PostgreSQL, and returns its URL. It has fewer
// connections to the server than the suite has to it.
func startPgBouncer(t *testing.T) string {
	t.Helper()
	behind, err := sharedPostgres()
	server.Skip(t, err)
	s, err := server.New("pgbouncer", "postgres")
	server.Skip(t, err)
	t.Cleanup(s.Remove)
	if err := behind.postgresStatement(t.Context(), `DO $$ BEGIN
		CREATE ROLE bouncer SUPERUSER LOGIN PASSWORD 'simple';
	EXCEPTION WHEN duplicate_object THEN NULL; END $$`); err != nil {
		t.Fatal(err)
	}
	users, err := s.Write("users", `"bouncer" "simple"`)
	if err != nil {
		t.Fatal(err)
	}
	config, err := s.Write("pgbouncer.ini",
		"[databases]", "postgres = host=127.0.0.1 port="+behind.Port+" user=bouncer password=simple",
		"[pgbouncer]", "listen_addr = 127.0.0.1", "listen_port = "+s.Port, "unix_socket_dir =", "auth_type = trust", "auth_file = "+users,
		"pool_mode = transaction", "default_pool_size = 5", "max_client_conn = 500",
	)
	if err != nil {
		t.Fatal(err)
	}
	s.Arguments = []string{"--quiet", config}
	u := url.URL{Scheme: "postgres", User: url.User("bouncer"), Host: s.Address(), Path: "/postgres"}
	s.Ready = func(ctx context.Context) error {
		conn, err := pgx.Connect(ctx, u.String())
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return u.String()
}

// What is prepared gets lost behind the pooler: the store runs its statements unprepared from then on, and loses none.
func TestPoolerIsNoticed(t *testing.T) {
	address := startPgBouncer(t)
	direct := newPostgresTarget(t)
	for _, test := range []struct {
		target target
		pooled bool
	}{{target{address, newTable()}, true}, {direct, false}} {
		s := test.target.open(t)
		var writers sync.WaitGroup
		for i := range 20 { // side by side, so that the pooler changes connections
			writers.Go(func() {
				key := fmt.Sprintf("a/%d", i)
				revision, err := s.Save(t.Context(), key, []byte("1"), "")
				if err == nil {
					_, err = s.Save(t.Context(), key, []byte("2"), revision)
				}
				if err != nil {
					t.Errorf("%s: %v", key, err)
					return
				}
				if item, err := s.Load(t.Context(), key); err != nil || string(item.Value) != "2" {
					t.Errorf("%s is %q, %v", key, item.Value, err)
				}
			})
		}
		writers.Wait()
		if pooled := s.pool.(postgresPool).pooled.Load(); pooled != test.pooled {
			t.Errorf("%s: a pooler is seen: %t, want %t", s.address, pooled, test.pooled)
		}
	}
}

func TestPgBouncer(t *testing.T) {
	t.Parallel() // with those that mostly wait
	address := startPgBouncer(t)
	t.Run("contract", func(t *testing.T) {
		var targets targetsOf
		storagetest.Suite{
			Open: func(t *testing.T) storage.Store {
				d := target{address, newTable()}
				return targets.add(d.open(t), d)
			},
			Reopen: func(t *testing.T, s storage.Store) storage.Store { return targets.of(s).open(t) },
		}.Run(t)
	})
	// It lets no notification through to who listens, so a Watch must not say that it does.
	t.Run("watch", func(t *testing.T) {
		n, err := target{address, newTable()}.open(t).Notify("certificates")
		if err != nil {
			t.Fatal(err)
		}
		for key, err := range n.Watch(t.Context(), "certificates") {
			if key != "" || !errors.Is(err, errPooler) {
				t.Errorf("Watch yields %q, %v, want errPooler", key, err)
			}
		}
	})
}

// A cluster of two nodes: what one has written the other must read, and what both write at once one must lose.
func TestGalera(t *testing.T) {
	nodes := startGalera(t)
	var targets targetsOf
	address := func(node int) string {
		return nodes[node].mariadbURL("everseal", password, "everseal") + "?wsrep_sync_wait=7"
	}
	t.Run("contract", func(t *testing.T) {
		storagetest.Suite{
			Open: func(t *testing.T) storage.Store {
				d := target{address(0), newTable()}
				return targets.add(d.open(t), target{address(1), d.table})
			},
			Reopen: func(t *testing.T, s storage.Store) storage.Store { return targets.of(s).open(t) },
		}.Run(t)
	})
	t.Run("stale", func(t *testing.T) {
		for _, setting := range []string{"", "?wsrep_sync_wait=1", "?wsrep_sync_wait=3"} {
			s := target{nodes[1].mariadbURL("everseal", password, "everseal") + setting, newTable()}.open(t)
			if _, err := s.Load(t.Context(), "a"); !errors.Is(err, errStale) {
				t.Errorf("Load with the parameters %q: %v, want errStale", setting, err)
			}
		}
	})
	t.Run("conflicts", func(t *testing.T) { testGaleraConflicts(t, address) })
}

// testGaleraConflicts lets many on both nodes change one record: the nodes answer 1213 to those that another node was
// faster than, and no increment may be lost, nor that number be seen.
func testGaleraConflicts(t *testing.T, address func(node int) string) {
	const writers, each = 8, 10
	table := newTable()
	var tasks sync.WaitGroup
	for i := range writers {
		s := target{address(i % 2), table}.open(t)
		tasks.Go(func() {
			for range each {
				if _, err := storage.Update(t.Context(), s, "a", func(old []byte) ([]byte, error) { return append(old, '+'), nil }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	tasks.Wait()
	item, err := target{address(0), table}.open(t).Load(t.Context(), "a")
	if err != nil || len(item.Value) != writers*each {
		t.Errorf("after %d increments: %d, %v", writers*each, len(item.Value), err)
	}
}

func startGalera(t *testing.T) [2]node {
	t.Helper()
	provider := "/usr/lib/galera/libgalera_smm.so"
	_, err := server.Find("mariadbd")
	server.Skip(t, err)
	_, err = server.Find("rsync")
	server.Skip(t, err)
	// A node that has no processor for seconds is not to be taken for lost: the other one, in the minority, would take no statements.
	const patience = ";evs.suspect_timeout=PT1M;evs.inactive_timeout=PT2M;evs.install_timeout=PT2M;gmcast.peer_timeout=PT1M"
	var nodes [2]node
	var first string
	for i := range nodes {
		self := "127.0.0.1:" + nextPort(t)
		s, err := startMariaDB(
			"--wsrep-on=ON", "--wsrep-provider="+provider, "--wsrep-cluster-name=everseal", "--wsrep-cluster-address=gcomm://"+first,
			"--wsrep-node-address=127.0.0.1", "--wsrep-node-incoming-address=127.0.0.1", "--wsrep-sst-method=rsync", "--wsrep-sst-receive-address=127.0.0.1:"+nextPort(t),
			"--wsrep-provider-options=gmcast.listen_addr=tcp://"+self+";ist.recv_addr=127.0.0.1:"+nextPort(t)+";gcache.size=32M"+patience,
			"--binlog-format=ROW", "--innodb-autoinc-lock-mode=2", "--innodb-flush-log-at-trx-commit=0",
		)
		t.Cleanup(s.remove)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("node %d:\n%s", i, s.Output())
			}
		})
		awaitMembership(t, s)
		nodes[i], first = s, self
	}
	return nodes
}

// awaitMembership returns when a node takes statements, which may be a moment after it takes connections.
func awaitMembership(t *testing.T, n node) {
	t.Helper()
	db, err := n.mariadb("everseal", password, "everseal")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(t.Context(), server.Patience)
	defer cancel()
	for {
		var name, ready string
		err := db.QueryRowContext(ctx, "SHOW STATUS LIKE 'wsrep_ready'").Scan(&name, &ready)
		if err == nil && ready == "ON" {
			return
		}
		if wait.For(ctx, 10*time.Millisecond) != nil {
			t.Fatalf("the node is no member of the cluster: wsrep_ready is %q, %v", ready, err)
		}
	}
}

func nextPort(t *testing.T) string {
	t.Helper()
	port, err := server.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}
