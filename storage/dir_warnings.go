package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
)

// Warnings returns what an operator should know about the folder although everything works: that others than its
// owner may enter it, by an error that says what to do. It returns nothing while the folder is missing, as a Dir makes it
// for its owner alone, and on Windows, where a folder's mode says nothing.
//
// A Dir is a name and has no logger. A certmanager.Manager finds this method, through wrappers, and logs what it
// returns when it begins to run; so does a program with a store of its own:
//
//	if s, ok := storage.As[interface{ Warnings(context.Context) []error }](store); ok {
//		for _, warning := range s.Warnings(ctx) {
//			slog.Warn(warning.Error())
//		}
//	}
func (d Dir) Warnings(ctx context.Context) []error {
	const others fs.FileMode = 0o077
	if runtime.GOOS == "windows" || string(d) == "" || ctx.Err() != nil {
		return nil
	}
	info, err := os.Stat(string(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return []error{fmt.Errorf("storage: can't tell who may read the folder %q: %w", string(d), err)}
	}
	if mode := info.Mode().Perm(); mode&others != 0 {
		return []error{fmt.Errorf("storage: the folder %q, which is to hold private keys, has the mode %04o: others than its owner may "+
			"enter it or see what is in it; chmod 0700 takes that from them, in a unit of systemd StateDirectoryMode=0700", string(d), mode)}
	}
	return nil
}
