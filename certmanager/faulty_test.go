package certmanager_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/everseal/everseal/storage"
)

// A faultyStore fails to save records under keys with a prefix.
type faultyStore struct {
	storage.Store

	mu      sync.Mutex
	prefix  string // of the keys
	faults  int    // how often more; negative: for ever
	reaches bool   // the record is saved nevertheless
	failed  int    // how often so far
}

var errDisk = errors.New("no space left on device")

func (s *faultyStore) set(prefix string, faults int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.prefix, s.faults = prefix, faults
}

func (s *faultyStore) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

func (s *faultyStore) Save(ctx context.Context, key string, value []byte, old storage.Revision) (storage.Revision, error) {
	s.mu.Lock()
	fails := s.faults != 0 && strings.HasPrefix(key, s.prefix)
	if fails {
		s.faults--
		s.failed++
	}
	s.mu.Unlock()
	switch {
	case !fails:
		return s.Store.Save(ctx, key, value, old)
	case s.reaches:
		if _, err := s.Store.Save(ctx, key, value, old); err != nil {
			return "", err
		}
	}
	return "", errDisk
}

// A distantStore takes its time for everything, so that what several processes do at once meets there.
type distantStore struct {
	storage.Store
	delay time.Duration
}

func (s distantStore) Load(ctx context.Context, key string) (storage.Item, error) {
	time.Sleep(s.delay)
	return s.Store.Load(ctx, key)
}

func (s distantStore) Save(ctx context.Context, key string, value []byte, old storage.Revision) (storage.Revision, error) {
	time.Sleep(s.delay)
	return s.Store.Save(ctx, key, value, old)
}

func (s distantStore) Delete(ctx context.Context, key string, old storage.Revision) error {
	time.Sleep(s.delay)
	return s.Store.Delete(ctx, key, old)
}
