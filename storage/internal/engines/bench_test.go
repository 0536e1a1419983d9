package engines

import (
	"context"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/everseal/everseal/storage"
)

// BenchmarkStore measures the same of every engine. Each engine's own module compares it with the driver alone.
func BenchmarkStore(b *testing.B) {
	for _, e := range engines {
		b.Run(e.name, func(b *testing.B) { benchmarkStore(b, openStore(b, e.place(b).url)) })
	}
}

func benchmarkStore(b *testing.B, s storage.Store) {
	ctx, value := b.Context(), make([]byte, 8<<10)
	revision, err := s.Save(ctx, "one", value, "")
	if err != nil {
		b.Fatal(err)
	}
	fill(b, s, "list", 1000, value)
	fill(b, s, "scan", 10_000, value)
	run := func(name string, f func() error) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	run("Load", func() error { _, err := s.Load(ctx, "one"); return err })
	run("Save", func() (err error) { revision, err = s.Save(ctx, "one", value, revision); return err })
	run("List1000", func() error {
		n := 0
		for _, err := range s.List(ctx, "list") {
			if n++; err != nil {
				return err
			}
		}
		return want(n, 1000)
	})
	run("Scan10000", func() error {
		n := 0
		for _, err := range storage.Scan(ctx, s, "scan", "") {
			if n++; err != nil {
				return err
			}
		}
		return want(n, 10_000)
	})
	run("Lease", func() error {
		lease, err := storage.Acquire(ctx, s, "lease", time.Minute)
		if err != nil {
			return err
		}
		return lease.Release(ctx)
	})
}

// fill saves so many records below the prefix.
func fill(b *testing.B, s storage.Store, prefix string, count int, value []byte) {
	b.Helper()
	group, ctx := errgroup.WithContext(b.Context())
	group.SetLimit(8)
	for i := range count {
		group.Go(func() error { return saveNew(ctx, s, fmt.Sprintf("%s/%d", prefix, i), value) })
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
}

func saveNew(ctx context.Context, s storage.Store, key string, value []byte) error {
	_, err := s.Save(ctx, key, value, "")
	return err
}

func want(n, records int) error {
	if n != records {
		return fmt.Errorf("%d records, want %d", n, records)
	}
	return nil
}
