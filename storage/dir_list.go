package storage

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"strings"
)

// List yields the keys that are prefix or lie below it; see [Store]. Files that are no records are
// passed by.
func (d Dir) List(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := AdmitPrefix(ctx, prefix); err != nil {
			yield("", err)
			return
		}
		root, err := openFolder(string(d), false)
		if errors.Is(err, fs.ErrNotExist) {
			err = ended(ctx)
		} else if err == nil {
			defer root.Close()
			l := listing{ctx: ctx, root: root, near: nearFolder{root: root}, yield: yield}
			defer l.near.close()
			err = l.prefix(prefix)
		}
		if err != nil && !errors.Is(err, errStopped) {
			yield("", d.failure("list", prefix, err))
		}
	}
}

// Scan yields the records that are prefix or lie below it, in the order of their keys; see [Scanner].
func (d Dir) Scan(ctx context.Context, prefix, cursor string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		root, err := openFolder(string(d), false)
		near := nearFolder{root: root}
		if err == nil {
			defer root.Close()
			defer near.close()
		}
		// If the folder could not be opened, List says why, or that there is nothing.
		scanKeys(d.List(ctx, prefix), cursor, func(key string) (Item, error) {
			if err := ended(ctx); err != nil {
				return Item{}, err
			}
			if root == nil {
				return d.Load(ctx, key)
			}
			item, err := near.readItem(key)
			if err != nil {
				return Item{}, d.failure("load", key, err)
			}
			return item, nil
		})(yield)
	}
}

// errStopped ends a listing whose caller wants no more keys.
var errStopped = errors.New("the caller wants no more")

// A listing is one iteration over the keys of a Dir.
type listing struct {
	ctx   context.Context // of the one call that the listing is
	root  *os.Root
	near  nearFolder
	yield func(string, error) bool
}

func (l *listing) prefix(prefix string) error {
	if prefix == "" {
		return l.folder(".")
	}
	if err := ended(l.ctx); err != nil {
		return err
	}
	info, err := l.root.Lstat(fileName(prefix))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil && info.Mode().IsRegular() && !l.yield(prefix, nil) {
		return errStopped
	}
	folder := folderName(prefix)
	if info, err := l.root.Stat(folder); err == nil && !info.IsDir() {
		return nil
	}
	return l.folder(folder)
}

// folder yields the keys of all files in and below the folder, which may have been removed meanwhile.
func (l *listing) folder(name string) error {
	f, err := l.near.openFile(path.Dir(name), path.Base(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		if err := ended(l.ctx); err != nil {
			return err
		}
		entries, err := f.ReadDir(256)
		if err != nil && (errors.Is(err, io.EOF) || errors.Is(err, fs.ErrNotExist)) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, entry := range entries {
			if err := l.entry(path.Join(name, entry.Name()), entry.Type()); err != nil {
				return err
			}
		}
	}
}

func (l *listing) entry(name string, kind fs.FileMode) error {
	switch {
	case kind.IsDir() && mayHoldKeys(path.Base(name)):
		return l.folder(name)
	case !kind.IsRegular() || !strings.HasSuffix(name, itemSuffix):
		return nil
	}
	if err := ended(l.ctx); err != nil {
		return err
	}
	key, ok := decodeFileName(name)
	if !ok && strings.Contains(name, shortMark) {
		key, ok = headerKey(l.root, name)
	}
	if ok && !l.yield(key, nil) {
		return errStopped
	}
	return nil
}
