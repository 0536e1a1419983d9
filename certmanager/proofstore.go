package certmanager

import (
	"context"
	"errors"
	"io/fs"

	"github.com/everseal/everseal/storage"
)

// A proofStore is the storage as solvers have it. That it fails is no failure of a solver's: another solver would fare no
// better, nor would the next issuer.
type proofStore struct{ storage.Store }

func (s proofStore) Unwrap() storage.Store { return s.Store }

func (s proofStore) Load(ctx context.Context, key string) (storage.Item, error) {
	item, err := s.Store.Load(ctx, key)
	return item, ofStorage(ctx, err)
}

func (s proofStore) Save(ctx context.Context, key string, value []byte, old storage.Revision) (storage.Revision, error) {
	revision, err := s.Store.Save(ctx, key, value, old)
	return revision, ofStorage(ctx, err)
}

// ofStorage returns the error of a call as one of the storage, unless it is an answer, or nobody wants one any more.
func ofStorage(ctx context.Context, err error) error {
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, storage.ErrConflict) || errors.Is(ctx.Err(), context.Canceled) {
		return err
	}
	return storageFailure(err)
}
