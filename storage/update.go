package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"time"
)

// Update replaces the value under key by what f makes of it and returns what was stored. It loads the
// value, calls f (with nil if nothing is stored, else with a slice that is not nil and that f may keep
// and change) and saves what f returned. If another writer came first, all of that is done again,
// after a short random wait that grows, until ctx ends: f may be called any number of times and should
// do nothing but compute.
//
// An error of f is returned as it is, and nothing is stored. Any other error wraps the store's, or that
// of ctx; after one of Save the value may or may not have been stored.
func Update(ctx context.Context, s Store, key string, f func(old []byte) ([]byte, error)) (Item, error) {
	if s == nil {
		return Item{}, errNoStore
	}
	for wait := time.Millisecond; ; wait = min(2*wait, 256*time.Millisecond) {
		item, err := s.Load(ctx, key)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			item = Item{}
		case err != nil:
			return Item{}, fmt.Errorf("updating %q: %w", key, err)
		case item.Value == nil:
			item.Value = []byte{}
		}
		value, err := f(item.Value)
		if err != nil {
			return Item{}, err
		}
		revision, err := s.Save(ctx, key, value, item.Revision)
		if err == nil {
			return Item{Value: value, Revision: revision}, nil
		}
		if !errors.Is(err, ErrConflict) {
			return Item{}, fmt.Errorf("updating %q: %w", key, err)
		}
		if ctxErr := sleep(ctx, rand.N(wait)); ctxErr != nil {
			return Item{}, fmt.Errorf("updating %q: %w, while others kept changing it", key, ctxErr)
		}
	}
}

// sleep waits for d, or returns why ctx ended before.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ended(ctx)
	case <-timer.C:
		return nil
	}
}

// jittered returns a random duration from three to five quarters of d.
func jittered(d time.Duration) time.Duration {
	return d*3/4 + rand.N(d/2+1)
}
