//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd || windows)

package storage

import (
	"errors"
	"fmt"
	"os"
	"runtime"
)

const openNonblock = 0

// tryLock fails: this system has no locks that belong to an open file and end with its process. So
// nothing can be changed in a Dir here.
func tryLock(*os.Root, string, int) (*os.File, error) {
	return nil, fmt.Errorf("storage.Dir needs file locks that %s does not have; use another storage.Store: %w",
		runtime.GOOS, errors.ErrUnsupported)
}

func unlock(f *os.File) error {
	return f.Close()
}

func removeLocked(root *os.Root, name string, f *os.File) error {
	return errors.Join(f.Close(), removeFile(root, name))
}

func syncFolder(*os.Root, string) error {
	return nil
}
