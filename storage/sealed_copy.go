package storage

import (
	"context"
	"fmt"
	"io/fs"
	"iter"
)

// LoadCopy opens the copy of the record at key; see [Copies]. There is none if the store around which s is keeps no copies.
func (s *Sealed) LoadCopy(ctx context.Context, key string) (Copy, error) {
	if err := s.check(); err != nil {
		return Copy{}, err
	}
	copies, ok := As[Copies](s.Store)
	if !ok {
		return Copy{}, fmt.Errorf("storage: no copies are kept: there is none of %q: %w", key, fs.ErrNotExist)
	}
	found, err := copies.LoadCopy(ctx, key)
	if err != nil {
		return Copy{}, err
	}
	return s.openedCopy(ctx, found)
}

// ScanCopies opens the copies at or below the prefix; see [Copies].
func (s *Sealed) ScanCopies(ctx context.Context, prefix string) iter.Seq2[Copy, error] {
	return func(yield func(Copy, error) bool) {
		if err := s.check(); err != nil {
			yield(Copy{}, err)
			return
		}
		copies, ok := As[Copies](s.Store)
		if !ok {
			return
		}
		for found, err := range copies.ScanCopies(ctx, prefix) {
			if err == nil {
				found, err = s.openedCopy(ctx, found)
			}
			if !yield(found, err) {
				return
			}
		}
	}
}

func (s *Sealed) openedCopy(ctx context.Context, sealed Copy) (Copy, error) {
	item, err := s.opened(ctx, sealed.Key, Item{Value: sealed.Value})
	if err != nil {
		return Copy{Key: sealed.Key}, err
	}
	return Copy{Key: sealed.Key, Value: item.Value, Time: sealed.Time}, nil
}
