package redis

import (
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/everseal/everseal/storage"
)

// BenchmarkStore compares what a store does with the same commands through the driver alone.
func BenchmarkStore(b *testing.B) {
	for _, kind := range kinds {
		b.Run(kind.name, func(b *testing.B) { benchmarkStore(b, kind.target(b).open(b)) })
	}
}

func benchmarkStore(b *testing.B, s *Store) {
	ctx := b.Context()
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
		save(fmt.Sprintf("scan/%d", i))
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
			return fmt.Errorf("%d records, want %d", n, rows)
		}
		return err
	}
	run("Load/store", func() error { _, err := s.Load(ctx, "one"); return err })
	run("Load/driver", func() error { return s.client.Get(ctx, s.record("one")).Err() })
	run("Save/store", func() (err error) { revision, err = s.Save(ctx, "one", value, revision); return err })
	run("Save/driver", func() error {
		next := rand.Text()
		err := s.client.EvalSha(ctx, s.update.hash, []string{s.record("one")}, string(format(next, value)), string(revision), "one", s.publish(),
			s.everything, s.channel("one")).Err()
		revision = storage.Revision(next)
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
		keys, err := s.client.ZRangeByLex(ctx, s.index, &redis.ZRangeBy{Min: "[list/", Max: "(list0"}).Result()
		return want(len(keys), 1000, err)
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
	run("Scan10000/driver", func() error { n, err := rawScan(b, s); return want(n, 10_000, err) })
	benchmarkLease(b, s)
}

// rawScan reads as much at once as a store does.
func rawScan(b *testing.B, s *Store) (n int, err error) {
	keys, err := s.client.ZRangeByLex(b.Context(), s.index, &redis.ZRangeBy{Min: "[scan/", Max: "(scan0"}).Result()
	for i := range keys {
		keys[i] = s.record(keys[i])
	}
	for len(keys) > 0 && err == nil {
		var values []any
		values, err = s.client.MGet(b.Context(), keys[:min(len(keys), recordsPage)]...).Result()
		n += len(values)
		keys = keys[len(values):]
	}
	return n, err
}

// benchmarkLease compares a lease that is acquired and released with a GET and two scripts.
func benchmarkLease(b *testing.B, s *Store) {
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
			if err := s.client.Get(ctx, s.record("lease")).Err(); err != nil {
				b.Fatal(err)
			}
			for range 2 {
				next := rand.Text()
				err := s.client.EvalSha(ctx, s.update.hash, []string{s.record("lease")}, string(format(next, item.Value)), string(item.Revision), "lease",
					s.publish(), s.everything, s.channel("lease")).Err()
				if err != nil {
					b.Fatal(err)
				}
				item.Revision = storage.Revision(next)
			}
		}
	})
}
