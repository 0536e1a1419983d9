package etcd

import (
	"errors"
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/everseal/everseal/storage"
)

// A raw is a client whose calls the store's are compared with.
type raw struct {
	*clientv3.Client
	stored string // what each save stores
}

func (r raw) swap(b *testing.B, key string, old int64) (int64, error) {
	response, err := r.Txn(b.Context()).If(clientv3.Compare(clientv3.ModRevision(key), "=", old)).Then(clientv3.OpPut(key, r.stored)).Commit()
	if err == nil && !response.Succeeded {
		err = errors.New("a conflict")
	}
	if err != nil {
		return 0, err
	}
	return response.Header.Revision, nil
}

func (r raw) read(b *testing.B, key string, want int, options ...clientv3.OpOption) (int64, error) {
	response, err := r.Get(b.Context(), key, options...)
	if err != nil {
		return 0, err
	}
	if len(response.Kvs) != want {
		return 0, fmt.Errorf("%d keys, want %d", len(response.Kvs), want)
	}
	return response.Kvs[0].ModRevision, nil
}

// BenchmarkStore compares what a store does with the same requests through the client alone. The server runs on the same
// machine.
func BenchmarkStore(b *testing.B) {
	ctx := b.Context()
	s, r := newTarget(b).open(b), raw{adminOf(b, sharedServer(b)), string(make([]byte, 8<<10))}
	value := []byte(r.stored)
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
	run := func(name string, f func() error) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	one := s.recordKey("one")
	run("Load/store", func() error { _, err := s.Load(ctx, "one"); return err })
	run("Load/driver", func() error { _, err := r.read(b, one, 1); return err })
	run("Save/store", func() error { revision = save("one", revision); return nil })
	v, _ := versionOf(revision)
	run("Save/driver", func() (err error) { v.modified, err = r.swap(b, one, v.modified); return err })
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
		_, err := r.read(b, s.recordKey("list/"), 1000, clientv3.WithPrefix(), clientv3.WithKeysOnly())
		return err
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
		_, err := r.read(b, s.recordKey("scan/"), 10_000, clientv3.WithPrefix())
		return err
	})
	benchmarkLease(b, s, r)
}

func wantCount(n, want int) error {
	if n != want {
		return fmt.Errorf("%d records, want %d", n, want)
	}
	return nil
}

// benchmarkLease compares a lease that is acquired and released with a read and two transactions.
func benchmarkLease(b *testing.B, s *Store, r raw) {
	acquire := func() error {
		lease, err := storage.Acquire(b.Context(), s, "lease", time.Minute)
		if err != nil {
			return err
		}
		return lease.Release(b.Context())
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
	key := s.recordKey("lease")
	item, err := s.Load(b.Context(), "lease")
	if err != nil {
		b.Fatal(err)
	}
	r.stored = string(item.Value)
	b.Run("Lease/driver", func(b *testing.B) {
		for b.Loop() {
			modified, err := r.read(b, key, 1)
			for range 2 {
				if err == nil {
					modified, err = r.swap(b, key, modified)
				}
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}
