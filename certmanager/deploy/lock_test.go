//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package deploy_test

import (
	"os"
	"syscall"
	"testing"
)

// lock makes the folder and locks it as another process would, until unlock is called.
func lock(t *testing.T, folder string) (unlock func()) {
	t.Helper()
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	return func() { _ = f.Close() }
}

// pipe puts a named pipe in the place of a file.
func pipe(name string) error {
	if err := os.Remove(name); err != nil {
		return err
	}
	return syscall.Mkfifo(name, 0o644)
}
