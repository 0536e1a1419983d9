//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package storage

import (
	"errors"
	"os"
	"syscall"
)

// openNonblock keeps the opening of a named pipe from waiting for its other end.
const openNonblock = syscall.O_NONBLOCK

// tryLock opens a file and locks it until [unlock] or until this process ends. The error wraps errLocked
// if another holds the lock. flag may have O_CREATE and O_EXCL.
func tryLock(root *os.Root, name string, flag int) (*os.File, error) {
	f, err := root.OpenFile(name, os.O_RDWR|openNonblock|flag, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err != syscall.EINTR {
			break
		}
	}
	switch {
	case err == syscall.EWOULDBLOCK:
		err = errLocked
	case err != nil:
		err = &os.PathError{Op: "flock (the folder must be on a file system that supports it)", Path: name, Err: err}
	default:
		// The file may have been removed between open and flock: then others lock another file of this name.
		var held, named os.FileInfo
		if held, err = f.Stat(); err == nil {
			named, err = root.Stat(name)
		}
		if errors.Is(err, os.ErrNotExist) || err == nil && !os.SameFile(held, named) {
			err = errLocked
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// unlock gives a lock of tryLock back. It does not rely on Close: a child process that is just being
// started may hold a copy of the descriptor.
func unlock(f *os.File) error {
	return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
}

// removeLocked removes a file that tryLock returned, then unlocks it: whoever has opened it meanwhile
// finds out in tryLock.
func removeLocked(root *os.Root, name string, f *os.File) error {
	return errors.Join(removeFile(root, name), unlock(f))
}

// syncFolder makes the names in a folder durable.
func syncFolder(root *os.Root, name string) error {
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	err = f.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.ENOSYS) {
		err = nil // a file system that has nothing to do here
	}
	return errors.Join(err, f.Close())
}
