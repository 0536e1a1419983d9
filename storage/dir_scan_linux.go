package storage

import (
	"bytes"
	"encoding/binary"
	"os"
	"strings"
	"syscall"
)

// A scanFolder is a folder that is open for a scan. What is opened from it has a single name and is no link, so that nothing
// leads out of it: for that, the system is called directly, in half the time that an os.Root takes.
type scanFolder struct{ descriptor int }

// openScanFolder opens the folder of that name below root, as root does: a link is followed if it leads to something below.
func openScanFolder(root *os.Root, name string) (scanFolder, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|openNonblock, 0)
	if err != nil {
		return scanFolder{}, err
	}
	defer f.Close()
	return scanFolder{int(f.Fd())}.folder(".")
}

// folder opens a folder in f. It gives errOther if it is something else.
func (f scanFolder) folder(name string) (scanFolder, error) {
	descriptor, err := f.open(name, syscall.O_DIRECTORY)
	return scanFolder{descriptor}, err
}

func (f scanFolder) close() { syscall.Close(f.descriptor) }

func (f scanFolder) open(name string, flag int) (int, error) {
	descriptor, err := again(func() (int, error) {
		return syscall.Openat(f.descriptor, name, syscall.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_CLOEXEC|flag, 0)
	})
	switch err {
	case syscall.ELOOP, syscall.ENOTDIR, syscall.ENXIO: // a link, a file, a socket
		err = errOther
	}
	return descriptor, err
}

// names calls add, until it gives an error, for each regular file in f with its name, and for each folder with its name and a "/"
// behind it.
func (f scanFolder) names(add func(name string) error) error {
	var buffer [8192]byte
	for {
		n, err := again(func() (int, error) { return syscall.ReadDirent(f.descriptor, buffer[:]) })
		if n == 0 || err == syscall.ENOENT { // at the end, or the folder has been removed
			return nil
		}
		if err != nil {
			return os.NewSyscallError("getdents", err)
		}
		if err := eachName(buffer[:n], add); err != nil {
			return err
		}
	}
}

// eachName does what names does for the entries that the system has written: for each, a number and an offset of 8 bytes, its length
// in 2 bytes, the kind of the file in one, and the name with a zero at the end. Not [syscall.ParseDirent], which does not
// tell the kind and passes by what has the number zero; some file systems give files that one.
func eachName(entries []byte, add func(name string) error) error {
	const lengthAt, kindAt, nameAt = 16, 18, 19
	for len(entries) > nameAt {
		length := int(binary.NativeEndian.Uint16(entries[lengthAt:]))
		if length <= nameAt || length > len(entries) {
			return syscall.EBADMSG
		}
		name, _, _ := bytes.Cut(entries[nameAt:length], []byte{0})
		kind := entries[kindAt]
		entries = entries[length:]
		if string(name) == "." || string(name) == ".." {
			continue
		}
		if kind == syscall.DT_UNKNOWN { // on some file systems: opening it will tell
			kind = syscall.DT_DIR
			if strings.HasSuffix(string(name), itemSuffix) {
				kind = syscall.DT_REG
			}
		}
		var err error
		switch kind {
		case syscall.DT_DIR:
			err = add(string(name) + "/")
		case syscall.DT_REG:
			err = add(string(name))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// file returns the content of a regular file in f of at most limit bytes. It gives errOther if it is something else, and does not
// wait for the writer of a named pipe.
func (f scanFolder) file(name string, limit int) ([]byte, error) {
	descriptor, err := f.open(name, syscall.O_NONBLOCK)
	if err != nil {
		return nil, err
	}
	defer syscall.Close(descriptor)
	var info syscall.Stat_t
	if err := syscall.Fstat(descriptor, &info); err != nil {
		return nil, err
	}
	if info.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return nil, errOther
	}
	if info.Size > int64(limit) {
		return nil, syscall.EFBIG
	}
	content := make([]byte, info.Size) // records are replaced, never written to
	read := 0
	for read < len(content) {
		n, err := again(func() (int, error) { return syscall.Read(descriptor, content[read:]) })
		if err != nil {
			return nil, err
		}
		if n == 0 {
			break
		}
		read += n
	}
	return content[:read], nil
}

// again makes a call until no signal interrupts it.
func again(call func() (int, error)) (int, error) {
	for {
		if n, err := call(); err != syscall.EINTR {
			return n, err
		}
	}
}
