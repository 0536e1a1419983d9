package storage

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
)

const ownerFolder = ".owners"

// MarkOwner makes a file named after the owner and keeps it locked: the kernel frees the lock when the
// process dies, however it dies.
func (d Dir) MarkOwner(ctx context.Context) (owner string, unmark func(), err error) {
	kernel, err := kernelID()
	if err != nil {
		return "", nil, err
	}
	root, err := openFolder(string(d), true)
	if err != nil {
		return "", nil, fmt.Errorf("storage: can't use the folder %q: %w", string(d), err)
	}
	var mark *os.File
	var name string
	for mark == nil && err == nil {
		owner = kernel + "-" + strings.ToLower(rand.Text())
		name = path.Join(ownerFolder, owner)
		err = intoFolder(root, ownerFolder, func() (err error) {
			mark, err = tryLock(root, name, os.O_CREATE|os.O_EXCL)
			return err
		})
		if errors.Is(err, errLocked) {
			err = ended(ctx) // ForgetOwner took the new file for a dead owner's: another one, then
		}
	}
	if err != nil {
		root.Close()
		return "", nil, fmt.Errorf("storage: can't use the folder %q: %w", string(d), inner{err})
	}
	return owner, func() {
		// What can't be removed now is removed by ForgetOwner.
		_ = removeLocked(root, name, mark)
		root.Close()
	}, nil
}

// OwnerDead reports whether no process holds the lock of the owner's file. Of an owner under another
// kernel, which may share the folder without sharing its locks, it knows nothing.
func (d Dir) OwnerDead(_ context.Context, owner string) (bool, error) {
	kernel, err := kernelID()
	if err != nil || !isOwner(owner, kernel) {
		return false, err
	}
	root, err := openFolder(string(d), false)
	if err != nil {
		return false, fmt.Errorf("storage: can't use the folder %q: %w", string(d), err)
	}
	defer root.Close()
	dead, err := markFree(root, owner)
	if err != nil {
		return false, fmt.Errorf("storage: can't tell whether the owner of a lease in the folder %q is alive: %w", string(d), err)
	}
	return dead, nil
}

// markFree reports whether nobody holds the lock of the file of an owner under this kernel.
func markFree(root *os.Root, owner string) (bool, error) {
	mark, err := tryLock(root, path.Join(ownerFolder, owner), 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, nil
	case errors.Is(err, errLocked):
		return false, nil
	case err != nil:
		return false, err
	}
	return true, unlock(mark)
}

// ForgetOwner removes the owner's file and those of all dead owners under this kernel. A file that
// stays costs nothing but its name, so failures don't matter.
func (d Dir) ForgetOwner(owner string) {
	kernel, err := kernelID()
	if err != nil {
		return
	}
	root, err := openFolder(string(d), false)
	if err != nil {
		return
	}
	defer root.Close()
	if isOwner(owner, "") {
		_ = root.Remove(path.Join(ownerFolder, owner))
	}
	folder, err := root.Open(ownerFolder)
	if err != nil {
		return
	}
	defer folder.Close()
	names, _ := folder.Readdirnames(-1)
	for _, name := range names {
		if !isOwner(name, kernel) {
			continue
		}
		name = path.Join(ownerFolder, name)
		if mark, err := tryLock(root, name, 0); err == nil {
			_ = removeLocked(root, name, mark)
		}
	}
}

// isOwner reports whether s is the id of an owner under the kernel, or under any if kernel is empty:
// 16 hexadecimal digits, "-" and 26 base32 digits in lower case. Ids come from records, and become file names.
func isOwner(s, kernel string) bool {
	of, nonce, found := strings.Cut(s, "-")
	if !found || len(of) != 16 || kernel != "" && of != kernel {
		return false
	}
	if _, err := hex.DecodeString(of); err != nil {
		return false
	}
	return nonce == strings.ToLower(nonce) && isNonce(strings.ToUpper(nonce))
}

// kernelID returns what tells this running kernel from others that may see the same folder.
func kernelID() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		name, err := os.Hostname()
		if err != nil {
			return "", fmt.Errorf("storage: can't tell this machine from others: %w", err)
		}
		id = []byte("host " + name)
	}
	digest := sha256.Sum256(id)
	return hex.EncodeToString(digest[:8]), nil
}
