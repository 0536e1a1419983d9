package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// Rekey seals all records anew that are not sealed with the key that seals now, and those that were never sealed. It
// works beside others that read and write. An error, also that of ctx, ends it: then it returns the cursor to give to
// the next call, which resumes. At the end the cursor is empty.
//
// What can't be opened ends it, too, with an error that wraps [ErrSealed]; the cursor is after that record.
func (s *Sealed) Rekey(ctx context.Context, cursor string) (next string, err error) {
	if err := s.check(); err != nil {
		return cursor, err
	}
	for record, err := range Scan(ctx, s.Store, "", cursor) {
		if err != nil {
			return cursor, fmt.Errorf("storage: rekey: %w", err)
		}
		if err := s.rekey(ctx, record.Key, record.Item); err != nil {
			if errors.Is(err, ErrSealed) {
				cursor = record.Cursor
			}
			return cursor, fmt.Errorf("storage: rekey: %w", err)
		}
		cursor = record.Cursor
	}
	return "", nil
}

// rekey seals one record. If another writes it meanwhile, it reads again.
func (s *Sealed) rekey(ctx context.Context, key string, item Item) error {
	for {
		if err := ended(ctx); err != nil {
			return err
		}
		plain, err := s.plain(ctx, key, item)
		if err != nil {
			return err
		}
		current, err := s.current(ctx, key)
		if err != nil {
			return err
		}
		if bytes.HasPrefix(item.Value, []byte(sealedHeader(current.ID))) {
			return nil // it is already
		}
		sealed, err := s.seal(current, key, plain)
		if err != nil {
			return err
		}
		_, err = s.Store.Save(ctx, key, sealed, item.Revision)
		if err == nil || !errors.Is(err, ErrConflict) {
			return err
		}
		item, err = s.Store.Load(ctx, key)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// plain returns the value of a record, which may not be sealed at all.
func (s *Sealed) plain(ctx context.Context, key string, item Item) ([]byte, error) {
	if !bytes.HasPrefix(item.Value, []byte(sealedName)) {
		return item.Value, nil
	}
	opened, err := s.opened(ctx, key, item)
	return opened.Value, err
}
