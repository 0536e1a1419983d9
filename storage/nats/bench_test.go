package nats

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/everseal/everseal/storage"
)

// BenchmarkStore compares what a store does with the same through the client's key-value bucket alone. The server runs on the same
// machine.
func BenchmarkStore(b *testing.B) {
	ctx := b.Context()
	s := newTarget(b).open(b)
	value := make([]byte, 8<<10)
	save := func(key string, old storage.Revision) storage.Revision {
		revision, err := s.Save(ctx, key, value, old)
		if err != nil {
			b.Fatal(err)
		}
		return revision
	}
	revision := save("one", "")
	for i := range 1000 {
		save(fmt.Sprintf("list/%d", i), "")
	}
	for i := range 10_000 {
		save(fmt.Sprintf("scan/%d", i), "")
	}
	raw, err := adminOf(b, sharedServer(b)).KeyValue(ctx, s.bucket)
	if err != nil {
		b.Fatal(err)
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
	run("Load/store", func() error { _, err := s.Load(ctx, "one"); return err })
	run("Load/driver", func() error { _, err := raw.Get(ctx, "one"); return err })
	run("Save/store", func() error { revision = save("one", revision); return nil })
	v, _ := versionOf(revision)
	run("Save/driver", func() (err error) { v.sequence, err = raw.Update(ctx, "one", value, v.sequence); return err })
	run("List1000/store", func() error {
		n := 0
		for _, err := range s.List(ctx, "list") {
			if n++; err != nil {
				return err
			}
		}
		return wantCount(n, 1000)
	})
	run("List1000/driver", func() error {
		lister, err := raw.ListKeysFiltered(ctx, "list.>")
		if err != nil {
			return err
		}
		n := 0
		for range lister.Keys() {
			n++
		}
		return wantCount(n, 1000)
	})
	run("Scan10000/store", func() error {
		n := 0
		for _, err := range s.Scan(ctx, "scan", "") {
			if n++; err != nil {
				return err
			}
		}
		return wantCount(n, 10_000)
	})
	run("Scan10000/driver", func() error {
		watcher, err := raw.Watch(ctx, "scan.>", jetstream.IgnoreDeletes())
		if err != nil {
			return err
		}
		n := 0
		for entry := range watcher.Updates() {
			if entry == nil {
				break
			}
			n++
		}
		return firstOf(watcher.Stop(), wantCount(n, 10_000))
	})
	run("Lease/store", func() error {
		lease, err := storage.Acquire(ctx, s, "lease", time.Minute)
		if err != nil {
			return err
		}
		return lease.Release(ctx)
	})
	run("Lease/driver", func() error {
		entry, err := raw.Get(ctx, "lease")
		if err != nil {
			return err
		}
		sequence := entry.Revision()
		for range 2 {
			if sequence, err = raw.Update(ctx, "lease", entry.Value(), sequence); err != nil {
				return err
			}
		}
		return nil
	})
}

func wantCount(n, want int) error {
	if n != want {
		return fmt.Errorf("%d records, want %d", n, want)
	}
	return nil
}
