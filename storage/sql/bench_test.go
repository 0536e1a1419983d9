package sql

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/everseal/everseal/storage"
)

// A raw is the pool of a store as its driver has it, which the store's calls are compared with.
type raw interface {
	exec(ctx context.Context, statement string, args ...any) error
	read(ctx context.Context, columns int, statement string, args ...any) (rows int, err error)
}

type rawPostgres struct{ *pgxpool.Pool }

func (r rawPostgres) exec(ctx context.Context, statement string, args ...any) error {
	_, err := r.Exec(ctx, statement, args...)
	return err
}

func (r rawPostgres) read(ctx context.Context, columns int, statement string, args ...any) (n int, err error) {
	rows, err := r.Query(ctx, statement, args...)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(targetsFor(columns)...); err != nil {
			return 0, err
		}
		n++
	}
	return n, rows.Err()
}

type rawDatabase struct{ *sql.DB }

func (r rawDatabase) exec(ctx context.Context, statement string, args ...any) error {
	_, err := r.ExecContext(ctx, statement, args...)
	return err
}

func (r rawDatabase) read(ctx context.Context, columns int, statement string, args ...any) (n int, err error) {
	rows, err := r.QueryContext(ctx, statement, args...)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(targetsFor(columns)...); err != nil {
			return 0, err
		}
		n++
	}
	return n, rows.Err()
}

// targetsFor returns variables for the columns: the last of more than one is the value.
func targetsFor(columns int) []any {
	all := make([]any, columns)
	for i := range all {
		all[i] = new(string)
	}
	if columns > 1 {
		all[columns-1] = new([]byte)
	}
	return all
}

func rawOf(s *Store) raw {
	if p, ok := s.pool.(postgresPool); ok {
		return rawPostgres{p.Pool}
	}
	return rawDatabase{s.pool.(database).DB}
}

// BenchmarkStore compares what a store does with the same statements through the driver alone.
func BenchmarkStore(b *testing.B) {
	for _, kind := range kinds {
		b.Run(kind.name, func(b *testing.B) { benchmarkStore(b, kind.target(b).open(b)) })
	}
}

func benchmarkStore(b *testing.B, s *Store) {
	ctx, r := b.Context(), rawOf(s)
	value := make([]byte, 8<<10)
	save := func(key string) storage.Revision {
		revision, err := s.Save(ctx, key, value, "")
		if err != nil {
			b.Fatal(err)
		}
		return revision
	}
	revision := save("one")
	for i := range 1000 {
		save(fmt.Sprintf("list/%d", i))
	}
	for i := range 10_000 {
		save(fmt.Sprintf("scan/%05d", i))
	}
	if s.name == "PostgreSQL" {
		// As autovacuum does a minute after so many changes: before, each page of a scan is cut from all that is left, sorted.
		if _, err := s.exec(ctx, "ANALYZE "+s.quoted()); err != nil {
			b.Fatal(err)
		}
	}
	run := func(name string, f func() error) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	want := func(n, rows int, err error) error {
		if err == nil && n != rows {
			return fmt.Errorf("%d rows, want %d", n, rows)
		}
		return err
	}
	run("Load/store", func() error { _, err := s.Load(ctx, "one"); return err })
	run("Load/driver", func() error { n, err := r.read(ctx, 2, s.load, "one"); return want(n, 1, err) })
	run("Save/store", func() (err error) { revision, err = s.Save(ctx, "one", value, revision); return err })
	run("Save/driver", func() error {
		next := storage.Revision(rand.Text())
		err := r.exec(ctx, s.update, string(next), value, "one", string(revision))
		revision = next
		return err
	})
	run("List1000/store", func() error {
		n := 0
		for _, err := range s.List(ctx, "list") {
			if n++; err != nil {
				return err
			}
		}
		return want(n, 1000, nil)
	})
	run("List1000/driver", func() error {
		n, err := r.read(ctx, 1, s.keys, "list/", "list0", "list", "list/")
		return want(n, 1000, err)
	})
	run("Scan10000/store", func() error {
		n := 0
		for _, err := range s.Scan(ctx, "scan", "") {
			if n++; err != nil {
				return err
			}
		}
		return want(n, 10_000, nil)
	})
	run("Scan10000/driver", func() error { n, err := scanRaw(ctx, r, s); return want(n, 10_000, err) })
	benchmarkLease(b, s, r)
}

// scanRaw reads pages of the same size as the store, which keeps no connection while its caller has a record.
func scanRaw(ctx context.Context, r raw, s *Store) (all int, err error) {
	for {
		from := "scan"
		if all > 0 {
			from = fmt.Sprintf("scan/%05d!", all-1)
		}
		n, err := r.read(ctx, 3, s.records, from, "scan0", "scan", "scan/")
		all += n
		if err != nil || n < recordsPage {
			return all, err
		}
	}
}

// benchmarkLease compares a lease that is acquired and released with a SELECT and two UPDATEs.
func benchmarkLease(b *testing.B, s *Store, r raw) {
	ctx := b.Context()
	acquire := func() error {
		lease, err := storage.Acquire(ctx, s, "lease", time.Minute)
		if err != nil {
			return err
		}
		return lease.Release(ctx)
	}
	if err := acquire(); err != nil {
		b.Fatal(err)
	}
	b.Run("Lease/store", func(b *testing.B) {
		for b.Loop() {
			if err := acquire(); err != nil {
				b.Fatal(err)
			}
		}
	})
	item, err := s.Load(ctx, "lease")
	if err != nil {
		b.Fatal(err)
	}
	b.Run("Lease/driver", func(b *testing.B) {
		for b.Loop() {
			if _, err := r.read(ctx, 2, s.load, "lease"); err != nil {
				b.Fatal(err)
			}
			for range 2 {
				next := storage.Revision(rand.Text())
				if err := r.exec(ctx, s.update, string(next), item.Value, "lease", string(item.Revision)); err != nil {
					b.Fatal(err)
				}
				item.Revision = next
			}
		}
	})
}
