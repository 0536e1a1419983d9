package solver_test

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/everseal/everseal/storage"
)

// A watchedStore counts what is asked of a store, and fails or interferes where a test wants it to.
type watchedStore struct {
	storage.Store
	calls     atomic.Int64
	failing   atomic.Bool
	afterLoad func() // if set, called once, after the next Load
}

var errStoreDown = errors.New("the store is down: secret-host")

func (s *watchedStore) count() error {
	s.calls.Add(1)
	if s.failing.Load() {
		return errStoreDown
	}
	return nil
}

func (s *watchedStore) Load(ctx context.Context, key string) (storage.Item, error) {
	if err := s.count(); err != nil {
		return storage.Item{}, err
	}
	item, err := s.Store.Load(ctx, key)
	if interfere := s.afterLoad; interfere != nil {
		s.afterLoad = nil
		interfere()
	}
	return item, err
}

func (s *watchedStore) Save(ctx context.Context, key string, value []byte, old storage.Revision) (storage.Revision, error) {
	if err := s.count(); err != nil {
		return "", err
	}
	return s.Store.Save(ctx, key, value, old)
}

func (s *watchedStore) Delete(ctx context.Context, key string, old storage.Revision) error {
	if err := s.count(); err != nil {
		return err
	}
	return s.Store.Delete(ctx, key, old)
}
