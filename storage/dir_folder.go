package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// openFolder opens the folder at name for what is done below it, and makes it first if create is set
// and it is missing.
func openFolder(name string, create bool) (*os.Root, error) {
	if name == "" {
		return nil, errors.New("the name of the folder is empty; name one, such as storage.Dir(\"/var/lib/NAME\")")
	}
	root, err := os.OpenRoot(name)
	if create && errors.Is(err, fs.ErrNotExist) {
		if err = makeFolder(filepath.Clean(name)); err == nil {
			root, err = os.OpenRoot(name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w; it must be a folder that this process can make, read and write", err)
	}
	return root, nil
}

// makeFolder makes the folder and its missing parents, readable by this user alone, so that they survive a crash.
func makeFolder(name string) error {
	err := os.Mkdir(name, 0o700)
	parent := filepath.Dir(name)
	if errors.Is(err, fs.ErrNotExist) && parent != name {
		if err := makeFolder(parent); err != nil {
			return err
		}
		err = os.Mkdir(name, 0o700)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(parent)
	if errors.Is(err, fs.ErrPermission) {
		return nil // it may be written to and passed through, but not opened
	}
	if err != nil {
		return err
	}
	defer root.Close()
	return syncFolder(root, ".")
}

// makeFolders does the same below root.
func makeFolders(root *os.Root, name string) error {
	err := root.Mkdir(name, 0o700)
	parent := path.Dir(name)
	if errors.Is(err, fs.ErrNotExist) && parent != "." {
		if err := makeFolders(root, parent); err != nil {
			return err
		}
		err = root.Mkdir(name, 0o700)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncFolder(root, parent)
}

// intoFolder does an action that puts a file into the folder. If the folder is missing it makes it
// and tries again: a Delete that emptied the folder may remove it at any moment.
func intoFolder(root *os.Root, folder string, action func() error) error {
	for range 100 {
		err := action()
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := makeFolders(root, folder); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return fmt.Errorf("the folder %s or a file on its way into it vanishes again and again; is another program removing files?", folder)
}

// syncNearest makes the names in the folder durable, or, if another Delete has just removed the
// folder as empty, those in the first parent that is there.
func syncNearest(root *os.Root, folder string) error {
	for {
		err := syncFolder(root, folder)
		if !errors.Is(err, fs.ErrNotExist) || folder == "." {
			return err
		}
		folder = path.Dir(folder)
	}
}

// pruneFolders removes folder and its parents up to the first that is not empty.
func pruneFolders(root *os.Root, folder string) {
	for ; folder != "."; folder = path.Dir(folder) {
		// Remove would remove a link whatever it leads to.
		if info, err := root.Lstat(folder); err != nil || !info.IsDir() {
			return
		}
		if root.Remove(folder) != nil {
			return
		}
	}
}

// sweepFolder removes all files from the folder, and makes it if it is missing.
func sweepFolder(root *os.Root, folder string) error {
	f, err := root.Open(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return makeFolders(root, folder)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := removeFile(root, path.Join(folder, name)); err != nil {
			return err
		}
	}
	return nil
}

// removeFile removes a file; that it was not there is no error.
func removeFile(root *os.Root, name string) error {
	err := root.Remove(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
