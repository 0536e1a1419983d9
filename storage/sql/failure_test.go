package sql

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/enginetest"
	"github.com/everseal/everseal/storage/internal/server"
)

// A failing is a store that can't work, and what its error has to say.
type failing struct {
	name string
	url  string
	want []string // in the error
}

// secret is a password that nobody has.
const secret = `s3cr#t:/?@[%&='"\ é`

var wanted = enginetest.Errors{Package: "storage/sql", Secrets: []string{password, secret}}

// wantFailures tries all methods of stores that can't work. Each error has to name the engine, the place, the key and
// the cure, and no password, not even escaped.
func wantFailures(t *testing.T, all []failing) {
	for _, f := range all {
		t.Run(f.name, func(t *testing.T) {
			s, err := Open(t.Context(), f.url, Config{Table: "failing"})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			_, err = s.Save(t.Context(), "certificates/a", []byte("x"), "")
			wanted.Want(t, err, append(f.want, `save "certificates/a"`, "table failing", s.address)...)
			_, loadErr := s.Load(t.Context(), "certificates/a")
			for _, scanErr := range s.Scan(t.Context(), "", "") {
				wanted.NoSecret(t, scanErr)
			}
			for _, listErr := range s.List(t.Context(), "") {
				wanted.NoSecret(t, listErr)
			}
			wanted.NoSecret(t, loadErr)
			wanted.NoSecret(t, s.Delete(t.Context(), "certificates/a", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
		})
	}
}

// unreachable returns the address of nobody.
func unreachableAddress(t *testing.T) string {
	t.Helper()
	port, err := server.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return "127.0.0.1:" + port
}

func TestPostgresFailures(t *testing.T) {
	d, err := sharedPostgres()
	server.Skip(t, err)
	err = d.postgresStatement(t.Context(), "CREATE ROLE reader LOGIN PASSWORD 'reader'", "CREATE DATABASE elsewhere",
		"ALTER ROLE reader SET search_path TO pg_catalog")
	if err != nil {
		t.Fatal(err)
	}
	nobody := url.URL{Scheme: "postgres", User: url.UserPassword("postgres", secret), Host: unreachableAddress(t), Path: "/postgres"}
	wrong := nobody
	wrong.Host = d.Address()
	right := d.postgresURL("postgres", password, "postgres")
	wantFailures(t, []failing{
		{"unreachable", nobody.String(), []string{"PostgreSQL", "refused", "whether the server runs"}},
		{"no socket", "postgres://postgres@/postgres?host=" + t.TempDir(), []string{"PostgreSQL", "no such file", "whether the server runs"}},
		{"wrong password", wrong.String(), []string{"PostgreSQL", "28P01", "correct user and password"}},
		{"no database", d.postgresURL("postgres", password, "nowhere"), []string{"3D000", "create the database"}},
		{"no rights", d.postgresURL("reader", "reader", "postgres"), []string{"the table is missing and can't be made", "42501", "Schema"}},
		{"unknown CA", right + "?sslmode=verify-full", []string{"x509", "agree on TLS"}},
		{"read-only", right + "?options=-cdefault_transaction_read_only%3Don", []string{"read only", "primary"}},
	})
	t.Run("read-only pool", func(t *testing.T) {
		p, err := pgxpool.New(t.Context(), right+"?options=-cdefault_transaction_read_only%3Don")
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		s, err := PostgreSQL(p, Config{Table: newTable()})
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Save(t.Context(), "a", nil, "")
		wanted.Want(t, err, "25006", "primary", d.Port, `save "a"`)
	})
	t.Run("no TLS", func(t *testing.T) {
		plain, err := startPostgres("-c", "fsync=off", "-c", "ssl=off")
		defer plain.remove()
		if err != nil {
			t.Fatal(err)
		}
		wantFailures(t, []failing{
			{"wanted by the client", plain.postgresURL("postgres", password, "postgres") + "?sslmode=require", []string{"TLS"}},
		})
	})
}

func TestMariaDBFailures(t *testing.T) {
	d, err := sharedMariaDB()
	server.Skip(t, err)
	err = d.statement(t.Context(), "CREATE USER reader@'%' IDENTIFIED BY 'reader'", "GRANT SELECT ON everseal.* TO reader@'%'",
		"CREATE USER encrypted@'%' IDENTIFIED BY 'encrypted' REQUIRE SSL")
	if err != nil {
		t.Fatal(err)
	}
	nobody := url.URL{Scheme: "mysql", User: url.UserPassword("everseal", secret), Host: unreachableAddress(t), Path: "/everseal"}
	wrong := nobody
	wrong.Host = d.Address()
	wantFailures(t, []failing{
		{"unreachable", nobody.String(), []string{"MySQL", "refused", "whether the server runs"}},
		{"no socket", "mysql://everseal@/everseal?socket=" + t.TempDir() + "/none", []string{"MySQL", "no such file", "whether the server runs"}},
		{"wrong password", wrong.String(), []string{"MySQL", "1045", "correct user and password"}},
		{"no database", d.mariadbURL("everseal", password, "nowhere"), []string{"1049", "create the database"}},
		{"no rights", d.mariadbURL("reader", "reader", "everseal"), []string{"the table is missing and can't be made", "1142", "Schema"}},
		{"unknown CA", d.mariadbURL("everseal", password, "everseal") + "?tls=true", []string{"x509", "agree on TLS"}},
		{"TLS wanted by the server", d.mariadbURL("encrypted", "encrypted", "everseal"), []string{"1045", "TLS"}},
	})
	t.Run("read-only", func(t *testing.T) {
		replica, err := startMariaDB("--read-only=1")
		defer replica.remove()
		if err != nil {
			t.Fatal(err)
		}
		wantFailures(t, []failing{{"replica", replica.mariadbURL("everseal", password, "everseal"), []string{"read-only", "primary"}}})
	})
}

func TestSQLiteFailures(t *testing.T) {
	folder := t.TempDir()
	noise := filepath.Join(folder, "noise")
	if err := os.WriteFile(noise, []byte(strings.Repeat("this is no database\n", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	wantFailures(t, []failing{
		{"no folder", "sqlite://" + folder + "/none/a", []string{"SQLite", "make the folder"}},
		{"a folder", "sqlite://" + folder, []string{"SQLite", folder}},
		{"no database", "sqlite://" + noise, []string{"SQLite", "not a database"}},
	})
	t.Run("full", func(t *testing.T) {
		db, err := sql.Open("sqlite", filepath.Join(folder, "full")+
			"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=max_page_count(20)")
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		s, err := SQLite(db, Config{})
		if err != nil {
			t.Fatal(err)
		}
		revision, err := s.Save(t.Context(), "a", []byte("small"), "")
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Save(t.Context(), "a", make([]byte, storage.MaxValue), revision)
		wanted.Want(t, err, "SQLite", "full", `save "a"`, "room")
		if item, err := s.Load(t.Context(), "a"); err != nil || string(item.Value) != "small" || item.Revision != revision {
			t.Errorf("after that: %q, %v", item.Value, err)
		}
	})
	for _, settings := range []string{"", "?_pragma=journal_mode(WAL)", "?_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=busy_timeout(9000)"} {
		db, err := sql.Open("sqlite", filepath.Join(folder, newTable())+settings)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		s, err := SQLite(db, Config{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Load(t.Context(), "a"); !errors.Is(err, errSettings) {
			t.Errorf("Load with the settings %q: %v, want errSettings", settings, err)
		}
	}
}

// What another version or another program has made is left alone.
func TestForeignTables(t *testing.T) {
	eachKind(t, func(t *testing.T, d target) {
		s := d.open(t)
		create := "CREATE TABLE " + s.quoted() + " (\n" + s.columns + ")"
		tests := []struct {
			name       string
			statements []string
			want       error
		}{
			{"another version", append(s.creation(), "UPDATE "+s.quoted()+" SET revision = '2' WHERE record_key = ''"), errVersion},
			{"no mark", []string{create, "INSERT INTO " + s.quoted() + " (record_key, revision, value) VALUES ('a', 'b', 'c')"}, errForeign},
			{"another mark", append(s.creation(), "UPDATE "+s.quoted()+" SET value = 'other'"), errForeign},
			{"other columns", []string{"CREATE TABLE " + s.quoted() + " (name INT)"}, nil},
			{"empty", []string{create}, nil},
		}
		for _, test := range tests {
			s := d.open(t)
			for _, statement := range test.statements {
				if _, err := s.pool.exec(t.Context(), statement); err != nil {
					t.Fatal(err)
				}
			}
			_, err := s.Save(t.Context(), "a", nil, "")
			switch {
			case test.name == "empty":
				if err != nil {
					t.Errorf("%s: %v", test.name, err)
				}
			case test.want == nil:
				wanted.Want(t, err, s.name, "set Config.Table")
			case !errors.Is(err, test.want):
				t.Errorf("%s: %v, want %v", test.name, err, test.want)
			}
			if _, err := s.pool.exec(t.Context(), "DROP TABLE "+s.quoted()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// An administrator makes the table, and the program's user may do no more than work on it.
func TestLeastPrivileges(t *testing.T) {
	t.Run("PostgreSQL", func(t *testing.T) {
		d := newPostgresTarget(t)
		admin, _ := sharedPostgres()
		statements := append(d.open(t).creation(), "CREATE ROLE worker LOGIN PASSWORD 'worker'", "GRANT SELECT, INSERT, UPDATE, DELETE ON "+d.table+" TO worker")
		if err := admin.postgresStatement(t.Context(), statements...); err != nil {
			t.Fatal(err)
		}
		n := target{admin.postgresURL("worker", "worker", "postgres"), d.table}.notifier(t, "a")
		wantWorks(t, n)
		startWatch(t.Context(), t, n, "a")
	})
	t.Run("MariaDB", func(t *testing.T) {
		d := newMariaDBTarget(t)
		admin, _ := sharedMariaDB()
		statements := append(d.open(t).creation(), "CREATE USER worker@'%' IDENTIFIED BY 'worker'", "GRANT SELECT, INSERT, UPDATE, DELETE ON everseal."+d.table+" TO worker@'%'")
		if err := admin.statement(t.Context(), statements...); err != nil {
			t.Fatal(err)
		}
		wantWorks(t, target{admin.mariadbURL("worker", "worker", "everseal"), d.table}.open(t))
	})
}

func wantWorks(t *testing.T, s storage.Store) {
	t.Helper()
	if err := storage.Check(t.Context(), s); err != nil {
		t.Error(err)
	}
}

// A connection that leads nowhere must not hold up a caller whose context ends.
func TestContextWhileServerIsSilent(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for _, scheme := range []string{"postgres", "mysql"} {
		s := target{url: scheme + "://a@" + listener.Addr().String() + "/a"}.open(t)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			if conn, err := listener.Accept(); err == nil {
				cancel()
				defer conn.Close()
				<-t.Context().Done()
			}
		}()
		if _, err := s.Load(ctx, "a"); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want context.Canceled", scheme, err)
		}
	}
}

// An endedContext is past its deadline, and notices that only when somebody waits for it.
type endedContext struct {
	context.Context
	end context.CancelFunc
}

func (c endedContext) Deadline() (time.Time, bool) { return time.Now().Add(-time.Second), true }

func (c endedContext) Done() <-chan struct{} {
	c.end()
	return c.Context.Done()
}

// A dialer may time out at the context's deadline before the context has ended: the error is the context's.
func TestFailureAtTheDeadline(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := newSQLiteTarget(t).open(t).failure(endedContext{ctx, cancel}, "delete", "a", os.ErrDeadlineExceeded)
	if !errors.Is(err, context.Canceled) || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("error %v, want the context's", err)
	}
}
