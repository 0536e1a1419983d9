package storage

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"strings"
)

// Admit refuses what the methods Load, Save and Delete of every store refuse first, before they touch the medium: an
// invalid key, a value that is too large (nil if there is none), and an ended context. What it returns is what
// the method returns. A value that a [Sealed] has sealed may be 256 bytes longer than [MaxValue]: so a Sealed, too,
// takes values of that size.
func Admit(ctx context.Context, key string, value []byte) error {
	if bytes.HasPrefix(value, []byte(sealedName)) && len(value) <= MaxValue+sealedExtra {
		value = nil
	}
	return admitPlain(ctx, key, value)
}

// admitPlain is Admit for values that are not sealed.
func admitPlain(ctx context.Context, key string, value []byte) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	if len(value) > MaxValue {
		return tooLarge(key, len(value), MaxValue)
	}
	return ended(ctx)
}

// AdmitPrefix is [Admit] for the prefix of List, Scan and Watch, which may be empty.
func AdmitPrefix(ctx context.Context, prefix string) error {
	if prefix == "" {
		return ended(ctx)
	}
	return Admit(ctx, prefix, nil)
}

// Within reports whether List has to yield key for the prefix: whether it is prefix or begins with prefix + "/".
func Within(key, prefix string) bool {
	return prefix == "" || key == prefix ||
		len(key) > len(prefix) && key[len(prefix)] == '/' && strings.HasPrefix(key, prefix)
}

// Conflict returns the error of a Save or Delete whose old revision is not the stored one. It wraps [ErrConflict].
func Conflict(key string) error { return fmt.Errorf("%w: %q", ErrConflict, key) }

// NotExist returns the error of a Load of what is not stored. It wraps [fs.ErrNotExist].
func NotExist(key string) error {
	return fmt.Errorf("storage: nothing is stored under %q: %w", key, fs.ErrNotExist)
}

// ended returns nil while ctx has not ended, then its error, with its cause if that says more.
func ended(ctx context.Context) error {
	err := ctx.Err()
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != err {
		return fmt.Errorf("storage: %w: %w", err, cause)
	}
	return fmt.Errorf("storage: %w", err)
}

// An inner error is a part of another: its text lacks the package's name, which the whole begins with.
type inner struct{ error }

func (e inner) Error() string { return strings.TrimPrefix(e.error.Error(), "storage: ") }
func (e inner) Unwrap() error { return e.error }

func tooLarge(key string, size, limit int) error {
	return fmt.Errorf("%w: %d bytes for %q, %d are allowed", ErrTooLarge, size, key, limit)
}
