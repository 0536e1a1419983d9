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
		err := d.walk(ctx, prefix, func(root *os.Root) error {
			l := listing{ctx: ctx, root: root, near: nearFolder{root: root}, yield: yield}
			defer l.near.close()
			return l.prefix(prefix)
		})
		if err != nil {
			yield("", err)
		}
	}
}

// walk does action, which goes through what is prefix or lies below it, unless the folder is missing. That the caller wants no
// more is no error.
func (d Dir) walk(ctx context.Context, prefix string, action func(root *os.Root) error) error {
	if err := AdmitPrefix(ctx, prefix); err != nil {
		return err
	}
	root, err := openFolder(string(d), false)
	if errors.Is(err, fs.ErrNotExist) {
		err = ended(ctx)
	} else if err == nil {
		defer root.Close()
		err = action(root)
	}
	if err == nil || errors.Is(err, errStopped) {
		return nil
	}
	return d.failure("list", prefix, err)
}

// errStopped ends a walk whose caller wants no more.
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
	found, err := isRecord(l.root, prefix)
	if err != nil {
		return err
	}
	if found && !l.yield(prefix, nil) {
		return errStopped
	}
	folder := folderName(prefix)
	if isOther(l.root, folder) {
		return nil
	}
	return l.folder(folder)
}

// isRecord reports whether there is a file of key's.
func isRecord(root *os.Root, key string) (bool, error) {
	info, err := root.Lstat(fileName(key))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && info.Mode().IsRegular(), err
}

// isOther reports whether what has a folder's name is none.
func isOther(root *os.Root, folder string) bool {
	info, err := root.Stat(folder)
	return err == nil && !info.IsDir()
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
