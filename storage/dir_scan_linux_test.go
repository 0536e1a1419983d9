package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// entriesOf returns what the system would write of a folder's entries, whose kinds come with their names.
func entriesOf(kinds []byte, names []string) []byte {
	var entries []byte
	for i, name := range names {
		length := (19 + len(name) + 1 + 7) &^ 7
		entry := make([]byte, length) // the number is zero
		binary.NativeEndian.PutUint16(entry[16:], uint16(length))
		entry[18] = kinds[i]
		copy(entry[19:], name)
		entries = append(entries, entry...)
	}
	return entries
}

func TestEachName(t *testing.T) {
	entries := entriesOf([]byte{
		syscall.DT_DIR, syscall.DT_DIR, syscall.DT_DIR, syscall.DT_REG, syscall.DT_REG, syscall.DT_LNK, syscall.DT_FIFO, syscall.DT_SOCK, syscall.DT_CHR, syscall.DT_BLK,
		syscall.DT_UNKNOWN, syscall.DT_UNKNOWN,
	}, []string{".", "..", "folder", "file", "file.item", "link.item", "pipe.item", "socket.item", "device.item", "disk.item", "unknown", "unknown.item"})
	var names []string
	note := func(name string) error {
		names = append(names, name)
		return nil
	}
	if err := eachName(entries, note); err != nil {
		t.Fatal(err)
	}
	if want := []string{"folder/", "file", "file.item", "unknown/", "unknown.item"}; !slices.Equal(names, want) {
		t.Errorf("names %q, want %q", names, want)
	}
	enough := errors.New("enough")
	if err := eachName(entries, func(string) error { return enough }); err != enough {
		t.Errorf("%v, want the error of the caller", err)
	}
}

func FuzzEachName(f *testing.F) {
	f.Add(entriesOf([]byte{syscall.DT_DIR, syscall.DT_REG}, []string{"a", "b.item"}))
	f.Add(make([]byte, 40))
	f.Fuzz(func(t *testing.T, entries []byte) {
		_ = eachName(entries, func(name string) error {
			if len(name) > len(entries) || strings.Contains(name, "\x00") {
				t.Errorf("%q has the name %q", entries, name)
			}
			return nil
		})
	})
}

// On a file system that does not tell what a name is of, opening it does.
func TestScanFolderOther(t *testing.T) {
	base, err := os.MkdirTemp("", "d") // a socket's name must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	in := func(name string) string { return filepath.Join(base, name) }
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: in("socket"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := errors.Join(os.Mkdir(in("folder"), 0o700), os.WriteFile(in("file"), []byte("x"), 0o600), os.Symlink("file", in("link")),
		os.Symlink("folder", in("way")), os.Symlink("absent", in("loose")), syscall.Mkfifo(in("pipe"), 0o600)); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(base)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	f, err := openScanFolder(root, ".")
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	for _, name := range []string{"folder", "file", "link", "way", "loose", "pipe", "socket"} {
		folder, err := f.folder(name)
		if err == nil {
			folder.close()
		}
		if want := name != "folder"; errors.Is(err, errOther) != want {
			t.Errorf("the folder %s: %v, want errOther: %v", name, err, want)
		}
		content, err := f.file(name, 10)
		if want := name != "file"; errors.Is(err, errOther) != want || !want && string(content) != "x" {
			t.Errorf("the file %s: %q, %v, want errOther: %v", name, content, err, want)
		}
	}
	if _, err := f.file("absent", 10); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file absent: %v, want fs.ErrNotExist", err)
	}
}

// A folder that is removed while it is listed has nothing, and a record whose file gives way to a link is none any more.
func TestDirScanGone(t *testing.T) {
	d := Dir(t.TempDir())
	for _, key := range []string{"a/b", "a/c", "d"} {
		mustSave(t, d, key)
	}
	var keys []string
	for r, err := range d.Scan(t.Context(), "", "") {
		if err != nil {
			t.Errorf("Scan: %v", err)
		}
		if keys = append(keys, r.Key); r.Key == "a/b" {
			file := filepath.Join(string(d), "a", "c.item")
			if err := errors.Join(os.Remove(file), os.Symlink("b.item", file)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if want := []string{"a/b", "d"}; !slices.Equal(keys, want) {
		t.Errorf("Scan yields %q, want %q", keys, want)
	}
	root, err := os.OpenRoot(string(d))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	f, err := openScanFolder(root, "a")
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	if err := os.RemoveAll(filepath.Join(string(d), "a")); err != nil {
		t.Fatal(err)
	}
	if err := f.names(func(name string) error { return errors.New("it has " + name) }); err != nil {
		t.Errorf("a folder that has been removed: %v, want nothing", err)
	}
}

// asNobody does action as a user that the permissions of files hold for.
func asNobody(t *testing.T, action func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		action()
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := syscall.Setfsuid(nobody); err != nil {
		t.Fatal(err)
	}
	defer syscall.Setfsuid(0)
	action()
}

const nobody = 65534

// dirOfNobody returns a Dir with records, whose files all belong to the user of asNobody.
func dirOfNobody(t *testing.T, keys ...string) Dir {
	t.Helper()
	base := t.TempDir()
	d := Dir(filepath.Join(base, "store"))
	for _, key := range keys {
		mustSave(t, d, key)
	}
	if os.Geteuid() == 0 {
		if err := os.Chmod(filepath.Dir(base), 0o755); err != nil { // the folder of this test alone
			t.Fatal(err)
		}
		if err := filepath.WalkDir(base, func(name string, _ fs.DirEntry, err error) error {
			return errors.Join(err, os.Lchown(name, nobody, nobody))
		}); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// scanNames returns the keys that a scan yields, and its errors as "error of KEY".
func scanNames(t *testing.T, d Dir) (names []string) {
	t.Helper()
	for r, err := range d.Scan(t.Context(), "", "") {
		name := r.Key
		if err != nil {
			name = "error of " + r.Key
			if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "must be allowed to read") || r.Key != r.Cursor {
				t.Errorf("Scan: %+v, %v, want an error that says what to do", r, err)
			}
		}
		names = append(names, name)
	}
	return names
}

func chmod(t *testing.T, d Dir, name string, mode fs.FileMode) {
	t.Helper()
	if err := os.Chmod(filepath.Join(string(d), name), mode); err != nil {
		t.Fatal(err)
	}
}

// A record that may not be read is an error of its key, a folder one that ends the scan; foreign ones are nobody's.
func TestDirScanUnreadable(t *testing.T) {
	d := dirOfNobody(t, "a", "b/a", "b/b", "b/c", "c/a", "d", strings.Repeat("l", 300), "lost+found")
	for _, name := range []string{"lost+found", "foreign.item"} { // as a file system's own folder is
		if err := os.Mkdir(filepath.Join(string(d), name), 0); err != nil {
			t.Fatal(err)
		}
	}
	chmod(t, d, "b/b.item", 0)
	asNobody(t, func() {
		for _, err := range d.List(t.Context(), "") {
			if err != nil {
				t.Errorf("List: %v", err)
			}
		}
		want := []string{"a", "b/a", "error of b/b", "b/c", "c/a", "d", strings.Repeat("l", 300), "lost+found"}
		if names := scanNames(t, d); !slices.Equal(names, want) {
			t.Errorf("Scan yields %q, want %q", names, want)
		}
	})
	chmod(t, d, "c", 0)
	asNobody(t, func() {
		want := []string{"a", "b/a", "error of b/b", "b/c", "error of "}
		if names := scanNames(t, d); !slices.Equal(names, want) {
			t.Errorf("Scan yields %q, want %q", names, want)
		}
	})
	chmod(t, d, "c", 0o700)
}

// Names so far below that no key leads to them are not entered.
func TestDirScanDepth(t *testing.T) {
	d := dirOfNobody(t, "a/a")
	deep := strings.Repeat("a/", MaxKey/2) + "a"
	if err := os.MkdirAll(filepath.Join(string(d), deep), 0o755); err != nil {
		t.Fatal(err)
	}
	chmod(t, d, deep, 0)
	asNobody(t, func() {
		if names := scanNames(t, d); !slices.Equal(names, []string{"a/a"}) {
			t.Errorf("Scan yields %q, want a/a", names)
		}
	})
}

// descriptors returns how many files this process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// However a scan ends, no file and no folder stays open.
func TestDirScanClosesAll(t *testing.T) {
	long := strings.Repeat("l", 220)
	d := dirOfNobody(t, "a", "b/a", "b/b/a", "b/b/c", "c/a", "c/b", long+"/"+long, "z")
	chmod(t, d, "b/b/a.item", 0)
	scan := func(ctx context.Context, most int) (n int) {
		for range d.Scan(ctx, "", "") {
			if n++; n == most {
				break
			}
		}
		return n
	}
	scan(t.Context(), -1) // what the process itself opens the first time
	before := descriptors(t)
	check := func(what string) {
		t.Helper()
		if after := descriptors(t); after != before {
			t.Errorf("%s: %d files are open, want %d as before", what, after, before)
		}
	}
	asNobody(t, func() {
		if n := scan(t.Context(), -1); n != 8 {
			t.Errorf("%d records and errors, want 8", n)
		}
	})
	check("after a scan")
	for most := range 8 {
		scan(t.Context(), most+1)
		check("after a scan that was broken off")
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		for range d.Scan(ctx, "", "") {
			if n++; n == most+1 {
				cancel()
			}
		}
		cancel()
		check("after a scan whose context ended")
	}
	for _, folder := range []string{"b/b", "c"} {
		chmod(t, d, folder, 0)
		asNobody(t, func() { scan(t.Context(), -1) })
		check("after a scan that could not open " + folder)
		chmod(t, d, folder, 0o700)
	}
	for r := range d.Scan(t.Context(), "", "") {
		if r.Key != "a" {
			continue
		}
		if err := errors.Join(os.RemoveAll(filepath.Join(string(d), "b")), os.RemoveAll(filepath.Join(string(d), "c")), os.Symlink("a", filepath.Join(string(d), "c"))); err != nil {
			t.Fatal(err)
		}
	}
	check("after a scan during which folders went")
}
