package migrate

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

const (
	maxFile    = 1 << 20 // of a file in a folder, in bytes
	maxEntries = 1 << 20 // of a folder
)

// A folder is the one that is read, and nothing outside it, whatever links there are.
type folder struct {
	root *os.Root
	path string // absolute; empty: not known
}

func openFolder(name string) (*folder, error) {
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	absolute, err := filepath.Abs(name)
	if err != nil {
		absolute = ""
	}
	return &folder{root, absolute}, nil
}

// close closes the folder, of which nothing was written.
func (f *folder) close() { _ = f.root.Close() }

var (
	errNotRegular = errors.New("it is not a regular file")
	errTooLong    = fmt.Errorf("it is longer than %d bytes", maxFile)
)

// A file is what was read of one.
type file struct {
	data     []byte
	changed  time.Time
	isPublic bool // all users of the machine may read it, and get there
}

// read returns what a file has. What is not a regular file is not opened, or, if it comes in between, not waited for.
func (f *folder) read(name string) (file, error) {
	at, info, err := f.stat(name)
	if err != nil {
		return file{}, err
	}
	if !info.Mode().IsRegular() {
		return file{}, &fs.PathError{Op: "open", Path: name, Err: errNotRegular}
	}
	opened, err := f.root.OpenFile(at, os.O_RDONLY|nonBlocking, 0)
	if err != nil {
		return file{}, err
	}
	defer opened.Close()
	if info, err = opened.Stat(); err != nil {
		return file{}, err
	}
	if !info.Mode().IsRegular() {
		return file{}, &fs.PathError{Op: "open", Path: name, Err: errNotRegular}
	}
	data, err := io.ReadAll(io.LimitReader(opened, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = &fs.PathError{Op: "read", Path: name, Err: errTooLong}
	}
	if err != nil {
		return file{}, err
	}
	isPublic := info.Mode()&0o004 != 0 && runtime.GOOS != "windows" && f.isOpenTo(at)
	return file{data, info.ModTime(), isPublic}, nil
}

// isOpenTo reports whether all users may enter each folder on the way to a file: some tools leave it to one of them to keep others
// out.
func (f *folder) isOpenTo(name string) bool {
	real, err := filepath.EvalSymlinks(filepath.Join(f.path, filepath.FromSlash(name)))
	if err != nil || f.path == "" {
		return true // for all that is known
	}
	for at := filepath.Dir(real); ; at = filepath.Dir(at) {
		if info, err := os.Stat(at); err == nil && info.Mode()&0o001 == 0 {
			return false
		}
		if at == filepath.Dir(at) {
			return true
		}
	}
}

// openFile opens a file outside of any folder, as the caller names it, if it is a regular one.
func openFile(name string) (*os.File, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errNotRegular}
	}
	return os.OpenFile(name, os.O_RDONLY|nonBlocking, 0)
}

// readIf returns what a file has, or nothing if there is none.
func (f *folder) readIf(name string) (file, error) {
	read, err := f.read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return file{}, nil
	}
	return read, err
}

// entries returns what a folder within this has, in order; nothing if there is no such folder.
func (f *folder) entries(name string) ([]fs.DirEntry, error) {
	at, info, err := f.stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case !info.IsDir():
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("it is not a folder")}
	}
	opened, err := f.root.OpenFile(at, os.O_RDONLY|nonBlocking, 0)
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	entries, err := opened.ReadDir(maxEntries + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(entries) > maxEntries {
		return nil, &fs.PathError{Op: "read", Path: name, Err: fmt.Errorf("it has more than %d entries", maxEntries)}
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int {
		if a.Name() < b.Name() {
			return -1
		}
		return 1
	})
	return entries, nil
}

// has reports whether there is something of the name, or something that keeps that from being told.
func (f *folder) has(name string) bool {
	_, err := f.root.Lstat(name)
	return !errors.Is(err, fs.ErrNotExist)
}

// isFolder reports whether an entry is a folder, or a link that may lead to one.
func (f *folder) isFolder(at string, entry fs.DirEntry) bool {
	if entry.Type()&fs.ModeSymlink == 0 {
		return entry.IsDir()
	}
	_, info, err := f.stat(path.Join(at, entry.Name()))
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	return info.IsDir()
}

// stat returns what the name leads to, and the name by which the root leads there: it follows no absolute links, though they
// lead to within the folder, as some of certbot's do.
func (f *folder) stat(name string) (at string, info fs.FileInfo, err error) {
	at = name
	for range maxLinks {
		info, err = f.root.Stat(at)
		if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			break
		}
		next, ok := f.withoutAbsolute(at)
		if !ok {
			break
		}
		at = next
	}
	return at, info, err
}

// maxLinks bounds the absolute links on one way.
const maxLinks = 8

// withoutAbsolute returns the name with its first absolute link replaced by what it leads to, if that is within the folder.
func (f *folder) withoutAbsolute(name string) (string, bool) {
	parts := strings.Split(name, "/")
	for i := range parts {
		target, err := f.root.Readlink(path.Join(parts[:i+1]...))
		if err != nil || !filepath.IsAbs(target) {
			continue
		}
		within, err := filepath.Rel(f.path, target)
		if err != nil || !filepath.IsLocal(within) {
			return "", false
		}
		return path.Join(filepath.ToSlash(within), path.Join(parts[i+1:]...)), true
	}
	return "", false
}
