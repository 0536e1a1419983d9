package sql

import (
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/server"
	"github.com/everseal/everseal/storage/storagetest"
)

// A target is where a store's records are.
type target struct{ url, table string }

func (d target) open(t testing.TB) *Store {
	t.Helper()
	s, err := Open(t.Context(), d.url, Config{Table: d.table})
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

// kinds are all engines. Each target is an empty one, of the test alone.
var kinds = []struct {
	name   string
	target func(t testing.TB) target
}{
	{"SQLite", newSQLiteTarget},
	{"PostgreSQL", newPostgresTarget},
	{"MariaDB", newMariaDBTarget},
}

// eachKind runs a test for each engine, one after the other.
func eachKind(t *testing.T, test func(t *testing.T, d target)) {
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) { test(t, kind.target(t)) })
	}
}

var tables atomic.Int64

func newTable() string { return fmt.Sprintf("records_%d", tables.Add(1)) }

func newSQLiteTarget(t testing.TB) target {
	return target{url: "sqlite://" + filepath.Join(t.TempDir(), "a store.db")}
}

func newPostgresTarget(t testing.TB) target {
	s, err := sharedPostgres()
	server.Skip(t, err)
	return target{s.postgresURL("postgres", password, "postgres"), newTable()}
}

func newMariaDBTarget(t testing.TB) target {
	s, err := sharedMariaDB()
	server.Skip(t, err)
	return target{s.mariadbURL("everseal", password, "everseal"), newTable()}
}

func newDirTarget(t testing.TB) target {
	return target{url: "dir:" + filepath.Join(t.TempDir(), "store")}
}

func TestContract(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			kind.target(t) // starts or skips
			var targets targetsOf
			storagetest.Suite{
				Open: func(t *testing.T) storage.Store {
					d := kind.target(t)
					return targets.add(d.open(t), d)
				},
				Reopen: func(t *testing.T, s storage.Store) storage.Store { return targets.of(s).open(t) },
			}.Run(t)
		})
	}
}

// targetsOf remembers where stores are.
type targetsOf struct{ all sync.Map }

func (m *targetsOf) add(s storage.Store, d target) storage.Store {
	m.all.Store(s, d)
	return s
}

func (m *targetsOf) of(s storage.Store) target {
	d, _ := m.all.Load(s)
	return d.(target)
}
