//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package storage_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/everseal/everseal/storage"
)

// TestDirPipe would hang if Load opened a pipe as a file and waited for its writer.
func TestDirPipe(t *testing.T) {
	d := storage.Dir(t.TempDir())
	if err := syscall.Mkfifo(filepath.Join(string(d), "a.item"), 0o600); err != nil {
		t.Fatal(err)
	}
	if item, err := d.Load(t.Context(), "a"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load of a pipe: %q, %v, want an error", item, err)
	}
	if keys := listed(t, d); len(keys) != 0 {
		t.Errorf("List: %q, want the pipe passed by", keys)
	}
}

// Links, pipes, sockets, devices and folders that have names as of records and folders are passed by, by List and Scan alike.
func TestDirOddFiles(t *testing.T) {
	base, err := os.MkdirTemp("", "d") // a socket's name must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	outside, d := filepath.Join(base, "o"), storage.Dir(filepath.Join(base, "d"))
	keys := []string{"a", "a/b", "a/b/c", "a/b/d", "e/f"}
	for _, key := range keys {
		mustCreate(t, d, key, "value of "+key)
		mustCreate(t, storage.Dir(outside), key, "secret")
	}
	for _, folder := range []string{"", "a", "a/b", "e"} {
		full := filepath.Join(string(d), folder)
		for _, name := range []string{"odd", "odd.item"} {
			for kind, create := range map[string]func(name string) error{
				"outer": func(name string) error { return os.Symlink(filepath.Join(outside, "a.item"), name) },
				"above": func(name string) error { return os.Symlink(filepath.Join(outside, "a"), name) },
				"inner": func(name string) error { return os.Symlink(filepath.Join(string(d), "a.item"), name) },
				"below": func(name string) error { return os.Symlink("b.item", name) },
				"cycle": func(name string) error { return os.Symlink(".", name) },
				"loose": func(name string) error { return os.Symlink("absent", name) },
				"empty": func(name string) error { return os.Mkdir(name, 0o700) },
				"pipe":  func(name string) error { return syscall.Mkfifo(name, 0o600) },
				"socket": func(name string) error {
					l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
					if err == nil {
						t.Cleanup(func() { l.Close() })
					}
					return err
				},
				"device": func(name string) error {
					err := syscall.Mknod(name, syscall.S_IFCHR|0o600, 1<<8|5) // a source of zeros on Linux
					if errors.Is(err, fs.ErrPermission) {
						t.Logf("devices are left out: %v", err)
						err = nil
					}
					return err
				},
			} {
				if err := create(filepath.Join(full, kind+name)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if got := listed(t, d); !slices.Equal(got, keys) {
		t.Errorf("List yields %q, want %q", got, keys)
	}
	if got := scanKeys(t, d, "", ""); !slices.Equal(got, keys) {
		t.Errorf("Scan yields %q, want %q", got, keys)
	}
	for _, prefix := range []string{"outerodd", "aboveodd", "looseodd", "pipeodd", "socketodd", "a/aboveodd"} {
		for r, err := range d.Scan(t.Context(), prefix, "") {
			if err == nil {
				t.Errorf("Scan(%q) yields %q of %s", prefix, r.Value, r.Key)
			}
		}
	}
}
