//go:build !linux

package storage

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

// A scanFolder is a folder that is open for a scan.
type scanFolder struct{ root *os.Root }

// openScanFolder opens the folder of that name below root.
func openScanFolder(root *os.Root, name string) (scanFolder, error) {
	opened, err := root.OpenRoot(name)
	return scanFolder{opened}, err
}

// folder opens a folder in f.
func (f scanFolder) folder(name string) (scanFolder, error) { return openScanFolder(f.root, name) }

func (f scanFolder) close() { f.root.Close() }

// names calls add, until it gives an error, for each regular file in f with its name, and for each folder with its name and a "/"
// behind it.
func (f scanFolder) names(add func(name string) error) error {
	opened, err := f.root.Open(".")
	if err != nil {
		return unlessGone(err)
	}
	defer opened.Close()
	for {
		entries, err := opened.ReadDir(256)
		if err != nil && (errors.Is(err, io.EOF) || errors.Is(err, fs.ErrNotExist)) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, entry := range entries {
			var err error
			switch {
			case entry.IsDir():
				err = add(entry.Name() + "/")
			case entry.Type().IsRegular():
				err = add(entry.Name())
			}
			if err != nil {
				return err
			}
		}
	}
}

// file returns the content of a regular file in f of at most limit bytes.
func (f scanFolder) file(name string, limit int) ([]byte, error) {
	return readFile(f.root, name, limit)
}
