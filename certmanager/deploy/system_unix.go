//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package deploy

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

const hasModes = true

// isOfGroup reports whether a file is of the group.
func isOfGroup(info fs.FileInfo, gid int) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Gid) == gid
}

// lockFolder locks an open folder. A file system without locks is for one process.
func lockFolder(f *os.File) error {
	for {
		switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EWOULDBLOCK):
			return errInUse
		default:
			return nil
		}
	}
}

// unlockFolder does not rely on Close: a program that is just being started may have a copy of the descriptor. What fails is
// undone by Close.
func unlockFolder(f *os.File) { _ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }

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
