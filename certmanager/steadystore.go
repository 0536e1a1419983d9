package certmanager

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"time"

	"github.com/everseal/everseal/storage"
)

const (
	steadyTries = 3           // of one call, before the storage counts as failing
	steadyPause = time.Second // between them
)

// A steadyStore calls the storage for who has time, and again if it fails.
type steadyStore struct{ store storage.Store }

// load returns what is stored at the key.
func (s steadyStore) load(ctx context.Context, key string) (item storage.Item, err error) {
	err = s.try(ctx, func(ctx context.Context) error {
		item, err = s.store.Load(ctx, key)
		return err
	})
	return item, err
}

// remove deletes what is stored at the key at that revision.
func (s steadyStore) remove(ctx context.Context, key string, revision storage.Revision) error {
	return s.try(ctx, func(ctx context.Context) error { return s.store.Delete(ctx, key, revision) })
}

// list yields the keys below a prefix. It is not tried again.
func (s steadyStore) list(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return unstuck(ctx, patience{storageTimeout, errSlowStorage}, func(ctx context.Context) iter.Seq2[string, error] { return s.store.List(ctx, prefix) })
}

// try makes a call until it succeeds, or fails for a reason that stays.
func (s steadyStore) try(ctx context.Context, call func(context.Context) error) (err error) {
	for n := 1; ; n++ {
		limited, cancel := context.WithTimeoutCause(ctx, storageTimeout, errSlowStorage)
		err = slowStorage(limited, call(limited))
		cancel()
		if err == nil || n == steadyTries || errors.Is(err, fs.ErrNotExist) || errors.Is(err, storage.ErrConflict) || errors.Is(err, storage.ErrSealed) {
			return err
		}
		if err := pause(ctx, steadyPause); err != nil {
			return err
		}
	}
}
