package storage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// A copyHeader is the line of JSON before the value in a copy's record.
type copyHeader struct {
	Version  int       `json:"version"`
	Copied   time.Time `json:"copied"`
	Revision Revision  `json:"revision"` // which the record had
}

const copyVersion = 1

// encodeCopy returns the record of a copy.
func encodeCopy(item Item) ([]byte, error) {
	line, err := json.Marshal(copyHeader{copyVersion, time.Now().UTC().Truncate(time.Second), item.Revision})
	if err != nil {
		return nil, err
	}
	return append(append(line, '\n'), item.Value...), nil
}

// decodeCopy takes the record of a copy apart.
func decodeCopy(key string, data []byte) (h copyHeader, value []byte, err error) {
	line, value, _ := bytes.Cut(data, []byte("\n"))
	if err := json.Unmarshal(line, &h); err != nil || h.Version != copyVersion {
		return copyHeader{}, nil, fmt.Errorf("storage: the copy of %q is damaged, or of another version of this library", key)
	}
	return h, value, nil
}

func copyOf(key string, data []byte) (Copy, error) {
	h, value, err := decodeCopy(key, data)
	if err != nil {
		return Copy{Key: key}, err
	}
	return Copy{Key: key, Value: value, Time: h.Copied}, nil
}

// A formerCopy is what there is of a record in the local store.
type formerCopy struct {
	key      string
	local    Revision // of the copy; zero: there is none
	revision Revision // which the record had; zero: the copy is of no use
	err      error    // why nothing is known of it
}

// before looks what copy there is, which only its successor replaces.
func (c *CachedStore) before(ctx context.Context, key string) formerCopy {
	f := formerCopy{key: key}
	item, err := c.local.Load(ctx, key)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		f.err = err
	default:
		f.local = item.Revision
		if h, _, err := decodeCopy(key, item.Value); err == nil {
			f.revision = h.Revision
		}
	}
	return f
}

// keep copies what a record is. It reports false if somebody else has copied it since the former copy was looked at.
func (c *CachedStore) keep(ctx context.Context, f formerCopy, item Item) bool {
	if f.err == nil && f.local != "" && f.revision == item.Revision {
		return true
	}
	err := f.err
	if err == nil {
		var data []byte
		if data, err = encodeCopy(item); err == nil {
			_, err = c.local.Save(ctx, f.key, data, f.local)
		}
	}
	return c.settle(f.key, err)
}

// drop deletes the copy of a record that is gone. It reports false as keep does.
func (c *CachedStore) drop(ctx context.Context, f formerCopy) bool {
	err := f.err
	if err == nil && f.local != "" {
		err = c.local.Delete(ctx, f.key, f.local)
	}
	return c.settle(f.key, err)
}

// dropOthers deletes the copies at or below the prefix of records that are not there.
func (c *CachedStore) dropOthers(ctx context.Context, prefix string, isThere func(key string) bool) {
	for key, err := range c.local.List(ctx, prefix) {
		if err != nil {
			c.settle(key, err)
			return
		}
		if c.copies(key) && !isThere(key) {
			_, _ = c.Load(ctx, key) // which deletes the copy, unless the record was made since
		}
	}
}

// settle notes how the making of a copy ended, and reports false if somebody else was faster.
func (c *CachedStore) settle(key string, err error) bool {
	if errors.Is(err, ErrConflict) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed = nil; err != nil {
		c.failed = fmt.Errorf("storage: the local copy of %q can't be kept: %w", key, inner{err})
	}
	return true
}
