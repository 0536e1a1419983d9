package storage_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

func TestCachedKeepsTheContract(t *testing.T) {
	prefixes := []string{"a", "b", "lease", "many", "certificates"}
	open := map[string]func(t *testing.T) storage.Store{
		"all copied": func(t *testing.T) storage.Store {
			return storage.Cached(new(storage.Memory), storage.Dir(t.TempDir()), prefixes...)
		},
		"none copied": func(*testing.T) storage.Store { return storage.Cached(new(storage.Memory), new(storage.Memory)) },
		"local fails": func(*testing.T) storage.Store { return storage.Cached(new(storage.Memory), failing(), prefixes...) },
	}
	for _, name := range slices.Sorted(maps.Keys(open)) {
		t.Run(name, func(t *testing.T) { storagetest.Run(t, open[name]) })
	}
}

// failing returns a store of which every call fails.
func failing() *storagetest.Faulty {
	s := new(storagetest.Faulty)
	s.SetFaults(storagetest.Fault{Kind: storagetest.Fail})
	return s
}

// copiesOf returns the values of all copies.
func copiesOf(t *testing.T, s storage.Store) map[string]string {
	t.Helper()
	copies, ok := storage.As[storage.Copies](s)
	if !ok {
		t.Fatal("no copies are kept")
	}
	all := make(map[string]string)
	for found, err := range copies.ScanCopies(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		all[found.Key] = string(found.Value)
	}
	return all
}

func save(t *testing.T, s storage.Store, key, value string, old storage.Revision) storage.Revision {
	t.Helper()
	revision, err := s.Save(t.Context(), key, []byte(value), old)
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

// Copies are made by Save, Load and Scan, of what is at or below the prefixes alone, and deleted when records are seen to be
// gone.
func TestCopies(t *testing.T) {
	remote := new(storage.Memory)
	s := storage.Cached(remote, storage.Dir(filepath.Join(t.TempDir(), "copies")))
	want := func(when string, copies map[string]string) {
		t.Helper()
		if found := copiesOf(t, s); !maps.Equal(found, copies) {
			t.Errorf("%s: copied are %v, want %v", when, found, copies)
		}
	}
	save(t, s, "work/a", "1", "")
	save(t, s, "accounts/a", "1", "")
	save(t, s, "certificatesx", "1", "")
	revision := save(t, s, "certificates/a", "1", "")
	want("after Save", map[string]string{"certificates/a": "1"})

	revision = save(t, remote, "certificates/a", "2", revision)
	save(t, remote, "certificates/b", "1", "")
	for range s.List(t.Context(), "") {
	}
	want("after a change by others", map[string]string{"certificates/a": "1"})
	if _, err := s.Load(t.Context(), "certificates/a"); err != nil {
		t.Fatal(err)
	}
	want("after Load", map[string]string{"certificates/a": "2"})
	scanAll(t, s, "")
	want("after Scan", map[string]string{"certificates/a": "2", "certificates/b": "1"})

	if err := s.Delete(t.Context(), "certificates/a", revision); err != nil {
		t.Fatal(err)
	}
	want("after Delete", map[string]string{"certificates/b": "1"})
	forget(t, remote, "certificates/b")
	if _, err := s.Load(t.Context(), "certificates/b"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	want("after a Load of what is gone", map[string]string{})
	save(t, s, "certificates/c", "1", "")
	save(t, s, "certificates/d/e", "1", "")
	forget(t, remote, "certificates/c")
	for range s.Scan(t.Context(), "certificates", "") {
		break
	}
	scanAll(t, s, "certificates/d")
	want("after parts of a scan", map[string]string{"certificates/c": "1", "certificates/d/e": "1"})
	scanAll(t, s, "certificates")
	want("after a whole scan", map[string]string{"certificates/d/e": "1"})
	if warnings := s.Warnings(t.Context()); len(warnings) > 0 {
		t.Errorf("warnings: %v", warnings)
	}
}

func scanAll(t *testing.T, s storage.Store, prefix string) {
	t.Helper()
	for _, err := range storage.Scan(t.Context(), s, prefix, "") {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func forget(t *testing.T, s storage.Store, key string) {
	t.Helper()
	item, err := s.Load(t.Context(), key)
	if err == nil {
		err = s.Delete(t.Context(), key, item.Revision)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// While the store is down, its copies can be read, and nothing else can: no call says what was once.
func TestCopiesWhileTheStoreIsDown(t *testing.T) {
	remote, folder := &storagetest.Faulty{Store: new(storage.Memory)}, storage.Dir(t.TempDir())
	sealed := func() storage.Store { return sealedBy(t, storage.Cached(remote, folder), secret(1)) }
	revision := save(t, sealed(), "certificates/a", "1", "")
	remote.SetFaults(storagetest.Fault{Kind: storagetest.Fail})
	again := sealed() // as after a start
	if _, err := again.Load(t.Context(), "certificates/a"); !errors.Is(err, storagetest.ErrFault) {
		t.Errorf("Load: %v", err)
	}
	if _, err := again.Save(t.Context(), "certificates/a", nil, revision); !errors.Is(err, storagetest.ErrFault) {
		t.Errorf("Save: %v", err)
	}
	for _, err := range storage.Scan(t.Context(), again, "certificates", "") {
		if !errors.Is(err, storagetest.ErrFault) {
			t.Errorf("Scan: %v", err)
		}
	}
	if err := storage.Check(t.Context(), again); !errors.Is(err, storagetest.ErrFault) {
		t.Errorf("Check: %v", err)
	}
	copies, _ := storage.As[storage.Copies](again)
	found, err := copies.LoadCopy(t.Context(), "certificates/a")
	if err != nil || string(found.Value) != "1" || found.Key != "certificates/a" || found.Time.IsZero() || found.Time.Location().String() != "UTC" {
		t.Errorf("the copy is %+v, %v", found, err)
	}
	if _, err := copies.LoadCopy(t.Context(), "certificates/b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a copy of nothing: %v", err)
	}
	if copied := copiesOf(t, again); len(copied) != 1 || copied["certificates/a"] != "1" {
		t.Errorf("copied are %v", copied)
	}
	// The disk has what the store has: what is sealed.
	item, err := folder.Load(t.Context(), "certificates/a")
	if err != nil || !bytes.Contains(item.Value, []byte("everseal-sealed 1 ")) {
		t.Errorf("on the disk is %.100q, %v", item.Value, err)
	}
}

// A damaged copy is told, and made anew by the next Load.
func TestDamagedCopy(t *testing.T) {
	for _, damaged := range []string{"", "{", "{}\n1", `{"version":2}` + "\n1", "null\n"} {
		remote, local := new(storage.Memory), new(storage.Memory)
		s := storage.Cached(remote, local)
		save(t, remote, "certificates/a", "1", "")
		save(t, local, "certificates/a", damaged, "")
		if found, err := s.LoadCopy(t.Context(), "certificates/a"); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: the copy is %+v, %v", damaged, found, err)
		}
		for found, err := range s.ScanCopies(t.Context(), "") {
			if err == nil || found.Key != "certificates/a" {
				t.Errorf("%q: ScanCopies has %+v, %v", damaged, found, err)
			}
		}
		if _, err := s.Load(t.Context(), "certificates/a"); err != nil {
			t.Fatal(err)
		}
		if copied := copiesOf(t, s); copied["certificates/a"] != "1" {
			t.Errorf("%q: copied are %v after a Load", damaged, copied)
		}
	}
}

// A hooked store runs a function once between a call and its end.
type hooked struct {
	storage.Store
	hook func()
}

func (h *hooked) run() {
	if hook := h.hook; hook != nil {
		h.hook = nil
		hook()
	}
}

func (h *hooked) Load(ctx context.Context, key string) (storage.Item, error) {
	defer h.run()
	return h.Store.Load(ctx, key)
}

func (h *hooked) Save(ctx context.Context, key string, value []byte, old storage.Revision) (storage.Revision, error) {
	defer h.run()
	return h.Store.Save(ctx, key, value, old)
}

func (h *hooked) Delete(ctx context.Context, key string, old storage.Revision) error {
	defer h.run()
	return h.Store.Delete(ctx, key, old)
}

// Whoever is slow to copy what it has read leaves no older copy in the place of a newer one.
func TestSlowCopies(t *testing.T) {
	const key = "certificates/a"
	calls := map[string]func(t *testing.T, s storage.Store, old storage.Revision){
		"Load": func(t *testing.T, s storage.Store, _ storage.Revision) {
			if _, err := s.Load(t.Context(), key); err != nil {
				t.Error(err)
			}
		},
		"Save": func(t *testing.T, s storage.Store, old storage.Revision) { save(t, s, key, "3", old) },
		"Delete": func(t *testing.T, s storage.Store, old storage.Revision) {
			if err := s.Delete(t.Context(), key, old); err != nil {
				t.Error(err)
			}
		},
	}
	for _, name := range slices.Sorted(maps.Keys(calls)) {
		t.Run(name, func(t *testing.T) {
			remote, local := &hooked{Store: new(storage.Memory)}, new(storage.Memory)
			s := storage.Cached(remote, local)
			revision := save(t, s, key, "1", "")
			first, err := local.Load(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			revision = save(t, remote.Store, key, "2", revision) // by somebody elsewhere
			remote.hook = func() {                               // somebody here, who has read it before that, copies it
				save(t, local, key, string(first.Value), first.Revision)
			}
			calls[name](t, s, revision)
			var want string
			if item, err := remote.Load(t.Context(), key); err == nil {
				want = string(item.Value)
			}
			if copied := copiesOf(t, s)[key]; copied != want {
				t.Errorf("the copy is %q, stored is %q", copied, want)
			}
		})
	}
}

// A copy that can't be made is told, until one can be.
func TestCopyCannotBeMade(t *testing.T) {
	local := failing()
	local.Store = new(storage.Memory)
	s := storage.Cached(new(storage.Memory), local)
	save(t, s, "certificates/a", "1", "")
	if w := s.Warnings(t.Context()); len(w) != 1 || !strings.Contains(w[0].Error(), `the local copy of "certificates/a" can't be kept`) || !errors.Is(w[0], storagetest.ErrFault) {
		t.Errorf("warnings: %v", w)
	}
	large := strings.Repeat("x", storage.MaxValue)
	local.SetFaults()
	save(t, s, "certificates/b", large, "")
	if w := s.Warnings(t.Context()); len(w) != 1 || !errors.Is(w[0], storage.ErrTooLarge) {
		t.Errorf("warnings: %v", w)
	}
	save(t, s, "certificates/c", "1", "")
	if w := s.Warnings(t.Context()); len(w) > 0 {
		t.Errorf("warnings: %v", w)
	}
}

// A Cached without a store says so.
func TestCachedWithoutStores(t *testing.T) {
	for _, s := range []*storage.CachedStore{new(storage.CachedStore), storage.Cached(nil, new(storage.Memory)), storage.Cached(new(storage.Memory), nil)} {
		_, err := s.Load(t.Context(), "a")
		if err == nil || !strings.HasPrefix(err.Error(), "storage: Cached: ") {
			t.Errorf("Load: %v", err)
		}
		if err := storage.Check(t.Context(), s); err == nil {
			t.Error("Check passes")
		}
		for _, err := range s.ScanCopies(context.WithoutCancel(t.Context()), "") {
			if err == nil {
				t.Error("ScanCopies yields something")
			}
		}
		if _, ok := storage.As[storage.Owners](s); ok {
			t.Error("it knows owners")
		}
	}
}
