package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
)

// A Dir is a [Store] in the folder it names, such as Dir("/var/lib/everseal"). Save makes the folder if
// it is missing. Any number of values and processes may work on one folder; the empty Dir is refused.
//
// # Safety
//
// A crash at any moment, of the process or the machine, leaves each record as it was or as it was to be:
// values are written to a file beside, flushed, and renamed. Changes of one key exclude each other by
// file locks, which the kernel frees when a process dies, and waiting for them obeys the context. The
// folder should be on a local file system; on a network file system it depends on that one's locks.
//
// Folders are made with mode 0700, files with 0600. Neither keys nor links inside the folder lead out
// of it.
//
// # Layout
//
// The segments of a key are folders, its last one a file with the suffix ".item": the record of "a/b.c"
// is a/b.c.item. Bytes other than a-z, 0-9 and "-._" are written as "%" and two hexadecimal digits, and so
// is the one or other byte in names that some system keeps for itself. Names that come out
// longer than 200 bytes are shortened and end in a hash. Folders whose name begins with a dot belong to Dir:
// locks, signs of life of lease owners, hints for watches, files being written; they must not be touched while it is in
// use. All other files are passed by.
//
// A file begins with one line of text: format, revision, SHA-256 and length of the value, key. The value
// follows as it is, so "openssl x509 -in FILE" reads a certificate.
//
// # Records changed by hand
//
// A file that was edited, damaged or put there by hand is not hidden: if its first line does not
// agree with what follows, Load returns what follows; if it has no such line at all (an empty file,
// say), the whole content. The revision is made from a hash of the content then, so that the
// caller can judge the value and replace or delete it in the usual way. List can't tell the key of such a
// file if its name is shortened, and passes it by.
type Dir string

// Load returns what is stored under key. In the absence of the folder nothing is stored.
func (d Dir) Load(ctx context.Context, key string) (Item, error) {
	if err := Admit(ctx, key, nil); err != nil {
		return Item{}, err
	}
	root, err := openFolder(string(d), false)
	if err == nil {
		defer root.Close()
		var item Item
		if item, err = readItem(root, key); err == nil {
			return item, nil
		}
	}
	return Item{}, d.failure("load", key, err)
}

// Save stores value if the stored revision is old; see [Store]. When it returns without an error the
// value is on the medium. It waits, obeying ctx, while another changes the record.
func (d Dir) Save(ctx context.Context, key string, value []byte, old Revision) (Revision, error) {
	if err := Admit(ctx, key, value); err != nil {
		return "", err
	}
	var revision Revision
	err := d.change(ctx, key, old, func(root *os.Root, shard string) (err error) {
		revision, err = writeItem(root, shard, key, value)
		return err
	})
	if err != nil {
		return "", d.failure("save", key, err)
	}
	return revision, nil
}

// Delete removes key if the stored revision is old, and the folders that are empty then; see [Store].
func (d Dir) Delete(ctx context.Context, key string, old Revision) error {
	if err := Admit(ctx, key, nil); err != nil {
		return err
	}
	if old == "" {
		return Conflict(key)
	}
	err := d.change(ctx, key, old, func(root *os.Root, _ string) error {
		name := fileName(key)
		if err := root.Remove(name); err != nil {
			return err
		}
		if err := syncNearest(root, path.Dir(name)); err != nil {
			return err
		}
		pruneFolders(root, path.Dir(name))
		return nil
	})
	if err != nil {
		return d.failure("delete", key, err)
	}
	return nil
}

// change does action, which changes key, if the stored revision is old, and under key's lock.
func (d Dir) change(ctx context.Context, key string, old Revision, action func(root *os.Root, shard string) error) error {
	root, err := openFolder(string(d), old == "")
	if errors.Is(err, fs.ErrNotExist) && old != "" {
		return Conflict(key)
	}
	if err != nil {
		return err
	}
	defer root.Close()
	shard := shardOf(key)
	lock, err := lockShard(ctx, root, shard)
	if err != nil {
		return err
	}
	item, err := readItem(root, key)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
	case item.Revision != old:
		err = Conflict(key)
	default:
		err = action(root, shard)
		tellWatches(root, key) // after an error too: something may have been changed
	}
	return errors.Join(err, unlock(lock))
}

// failure makes an error of the operating system one that names the key, the folder and what to do.
// Those of this package already say all.
func (d Dir) failure(operation, key string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist) && operation == "load":
		return NotExist(key)
	case errors.Is(err, ErrConflict):
		return err
	}
	what := strconv.Quote(key)
	if key == "" {
		what = "all keys"
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("storage: can't %s %s in the folder %q: %w; this process must be allowed to read and write there",
			operation, what, string(d), err)
	}
	return fmt.Errorf("storage: can't %s %s in the folder %q: %w", operation, what, string(d), inner{err})
}
