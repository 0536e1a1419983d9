package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

const (
	maxHints     = 1 << 20 // bytes that wait for a watch at most, from one machine
	checkedHints = 4 << 10 // bytes after which a writer checks whether the watch's owner is alive
)

// tellWatches appends the key to the files of all watches. One that can't be told has its files removed, by which it
// knows: a change that was made must not fail for it.
func tellWatches(root *os.Root, key string) {
	names, err := watchNames(root)
	if err != nil || len(names) == 0 {
		return
	}
	kernel, kernelErr := kernelID()
	for _, name := range names {
		if !isOwner(name, "") {
			continue
		}
		err := kernelErr
		if err == nil {
			err = tellWatch(root, name, kernel, key)
		}
		if err != nil {
			dropWatch(root, name)
		}
	}
}

// tellWatch appends the key to this machine's file for the watch of the owner.
func tellWatch(root *os.Root, owner, kernel, key string) error {
	file := path.Join(watchFolder, owner+"."+kernel)
	dead := func() (bool, error) {
		if !isOwner(owner, kernel) {
			return false, nil // another kernel's, whose locks are not seen here
		}
		return markFree(root, owner)
	}
	for range 10 {
		told, err := appendHint(root, file, key, dead)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the folder has been removed: the watch has ended
		}
		if err != nil {
			return err
		}
		if !told {
			continue
		}
		if _, err := root.Lstat(path.Join(watchFolder, owner)); errors.Is(err, fs.ErrNotExist) {
			return removeFile(root, file) // the watch ended before this file was made
		}
		return nil
	}
	return fmt.Errorf("%s vanishes again and again", file)
}

// appendHint appends the key to the file and reports whether the watch has not removed that file before: nobody
// reads what is appended then. Now and then it asks whether the watch's owner is dead.
func appendHint(root *os.Root, file, key string, ownerDead func() (bool, error)) (told bool, err error) {
	f, err := root.OpenFile(file, os.O_WRONLY|os.O_APPEND|os.O_CREATE|openNonblock, 0o600)
	if err != nil {
		return false, err
	}
	defer f.Close() // after the check of its name: while it is open, no other file can be taken for it
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	size := info.Size()
	if !info.Mode().IsRegular() || size > maxHints {
		return false, fmt.Errorf("%s has %d bytes: nobody reads it", file, size)
	}
	if size == 0 || size/checkedHints != (size+int64(len(key))+1)/checkedHints {
		dead, err := ownerDead()
		if err != nil {
			return false, err
		}
		if dead {
			return false, fmt.Errorf("the owner of %s has died", file)
		}
	}
	if _, err := f.WriteString(key + "\n"); err != nil {
		return false, err
	}
	named, err := root.Lstat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(info, named), err
}

// dropWatch removes the files of an owner's watch: first that by which it is told, so that it notices.
func dropWatch(root *os.Root, owner string) {
	_ = root.Remove(path.Join(watchFolder, owner))
	names, _ := watchNames(root)
	for _, name := range names {
		if strings.HasPrefix(name, owner+".") {
			_ = root.Remove(path.Join(watchFolder, name))
		}
	}
	_ = root.Remove(watchFolder) // unless others watch
}

// sweepWatches removes the files of watches whose owner has died, or that have ended.
func sweepWatches(root *os.Root) {
	kernel, err := kernelID()
	names, _ := watchNames(root)
	for _, name := range names {
		owner, _, _ := strings.Cut(name, ".")
		if !isOwner(owner, "") {
			continue
		}
		ended := !slices.Contains(names, owner)
		if !ended && err == nil && isOwner(owner, kernel) {
			ended, _ = markFree(root, owner)
		}
		if ended {
			dropWatch(root, owner)
		}
	}
}
