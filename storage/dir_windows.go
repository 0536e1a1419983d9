package storage

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

// openNonblock has no meaning here: there are no named pipes in folders.
const openNonblock = 0

// errSharing is what opening a file answers that another has opened for itself alone.
const errSharing = syscall.Errno(32) // ERROR_SHARING_VIOLATION

// tryLock opens a file for this handle alone until [unlock] or until this process ends. The error wraps
// errLocked if another has it. flag may have O_CREATE and O_EXCL.
func tryLock(root *os.Root, name string, flag int) (*os.File, error) {
	// CreateFile knows nothing of root: its folder must not be a link that leads elsewhere.
	folder := filepath.Dir(filepath.FromSlash(name))
	info, err := root.Lstat(folder)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, &os.PathError{Op: "lock", Path: name, Err: syscall.ENOTDIR}
	}
	full := filepath.Join(root.Name(), filepath.FromSlash(name))
	wide, err := syscall.UTF16PtrFromString(full)
	if err != nil {
		return nil, &os.PathError{Op: "lock", Path: name, Err: err}
	}
	disposition := uint32(syscall.OPEN_EXISTING)
	switch {
	case flag&os.O_EXCL != 0:
		disposition = syscall.CREATE_NEW
	case flag&os.O_CREATE != 0:
		disposition = syscall.OPEN_ALWAYS
	}
	const shareNothing = 0
	handle, err := syscall.CreateFile(wide, syscall.GENERIC_READ|syscall.GENERIC_WRITE, shareNothing, nil,
		disposition, syscall.FILE_ATTRIBUTE_NORMAL|syscall.FILE_FLAG_OPEN_REPARSE_POINT, 0)
	if errors.Is(err, errSharing) {
		return nil, errLocked
	}
	if err != nil {
		return nil, &os.PathError{Op: "lock", Path: name, Err: err}
	}
	return os.NewFile(uintptr(handle), full), nil
}

// unlock gives a lock of tryLock back.
func unlock(f *os.File) error {
	return f.Close()
}

// removeLocked unlocks a file that tryLock returned and removes it: an open file can't be removed.
// That another has opened it in between is no error; it has to remove it.
func removeLocked(root *os.Root, name string, f *os.File) error {
	err := f.Close()
	if removal := removeFile(root, name); !errors.Is(removal, errSharing) {
		err = errors.Join(err, removal)
	}
	return err
}

// syncFolder does nothing: folders can't be flushed here, and NTFS keeps a journal of their changes.
func syncFolder(*os.Root, string) error {
	return nil
}
