package storagetest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"testing"

	"github.com/everseal/everseal/storage"
)

func contractCases() []testCase {
	return []testCase{
		{"Create", "A zero revision says that the key must not exist. Two processes that start at once each create " +
			"an account's key; the second has to find out that it must use the first one's.", testCreate},
		{"Swap", "A save is made on the strength of what was loaded. If that is no longer what is stored, another's " +
			"work would be overwritten, and two would both believe to have won.", testSwap},
		{"Revisions", "If a revision returns, a writer that slept through changes takes them for none (A-B-A). Counters " +
			"that begin anew after a deletion and hashes of the value do that.", testRevisions},
		{"Delete", "A deletion is a change as any other: the one who deletes must have seen what is deleted. " +
			"An unconditional one removes a successor's record.", testDelete},
		{"List", "A listing by plain string prefix mixes the records of ab with those of a, and what is then cleaned up " +
			"is another's.", testList},
		{"ListEarlyEnd", "A caller stops when it has found what it wanted, and deletes while it lists. A store that " +
			"holds a lock or a connection meanwhile comes to a standstill.", testListEarlyEnd},
		{"ListWhileWriting", "A fleet writes at all times. A listing that fails for it, or that loses what nobody changes, " +
			"takes records for deleted.", testListWhileWriting},
		{"Context", "A caller that has been told to stop must not change anything any more, nor wait for a medium that " +
			"does not answer.", testContext},
		{"Update", "Counters, budgets and shared lists are built on it.", testUpdate},
	}
}

func testCreate(t *testing.T, s, other storage.Store) {
	ctx := t.Context()
	if _, err := s.Load(ctx, "a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load of an absent key: %v, want an error that wraps fs.ErrNotExist", err)
	}
	if _, err := s.Save(ctx, "a", []byte("x"), "made-up"); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("Save of an absent key with a revision: %v, want ErrConflict", err)
	}
	if _, err := s.Load(ctx, "a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load after a refused Save: %v, want an error that wraps fs.ErrNotExist", err)
	}
	revision := on(t, s).save("a", "first", "")
	for _, handle := range []storage.Store{s, other} {
		if _, err := handle.Save(ctx, "a", []byte("second"), ""); !errors.Is(err, storage.ErrConflict) {
			t.Errorf("second Save with a zero revision: %v, want ErrConflict", err)
		}
		on(t, handle).wantStored("a", "first", revision)
	}
}

func testSwap(t *testing.T, s, other storage.Store) {
	first := on(t, s).save("a", "1", "")
	second := on(t, other).save("a", "2", first)
	for name, stale := range map[string]storage.Revision{
		"stale": first, "zero": "", "made-up": "made-up", "longer": second + "0",
	} {
		if _, err := s.Save(t.Context(), "a", []byte("3"), stale); !errors.Is(err, storage.ErrConflict) {
			t.Errorf("Save with a %s revision: %v, want ErrConflict", name, err)
		}
		on(t, s).wantStored("a", "2", second)
	}
	third := on(t, s).save("a", "3", second)
	on(t, other).wantStored("a", "3", third)

	elsewhere := on(t, s).save("b", "1", "")
	if _, err := s.Save(t.Context(), "a", []byte("4"), elsewhere); elsewhere != third && !errors.Is(err, storage.ErrConflict) {
		t.Errorf("Save with another key's revision: %v, want ErrConflict", err)
	}
}

func testRevisions(t *testing.T, s, other storage.Store) {
	ctx := t.Context()
	var seen []storage.Revision
	note := func(what string, revision storage.Revision) storage.Revision {
		t.Helper()
		if slices.Contains(seen, revision) {
			t.Errorf("%s: revision %q had been given before", what, revision)
		}
		seen = append(seen, revision)
		return revision
	}
	revision := note("create", on(t, s).save("a", "A", ""))
	revision = note("the same value again", on(t, s).save("a", "A", revision))
	revision = note("another value", on(t, other).save("a", "B", revision))
	revision = note("the first value again", on(t, s).save("a", "A", revision))
	for range 3 {
		if err := other.Delete(ctx, "a", revision); err != nil {
			t.Fatalf("Delete: %v", err)
		}
		revision = note("created again after a deletion", on(t, s).save("a", "A", ""))
	}
	for _, stale := range seen[:len(seen)-1] {
		if _, err := s.Save(ctx, "a", []byte("C"), stale); !errors.Is(err, storage.ErrConflict) {
			t.Errorf("Save with an old revision of an equal value: %v, want ErrConflict", err)
		}
	}
	on(t, other).wantStored("a", "A", revision)
}

func testDelete(t *testing.T, s, other storage.Store) {
	ctx := t.Context()
	for _, old := range []storage.Revision{"", "made-up"} {
		if err := s.Delete(ctx, "a", old); !errors.Is(err, storage.ErrConflict) {
			t.Errorf("Delete of an absent key with revision %q: %v, want ErrConflict", old, err)
		}
	}
	first := on(t, s).save("a", "1", "")
	second := on(t, s).save("a", "2", first)
	below := on(t, s).save("a/b", "below", "")
	for _, old := range []storage.Revision{"", "made-up", first} {
		if err := other.Delete(ctx, "a", old); !errors.Is(err, storage.ErrConflict) {
			t.Errorf("Delete with revision %q while %q is stored: %v, want ErrConflict", old, second, err)
		}
		on(t, s).wantStored("a", "2", second)
	}
	if err := other.Delete(ctx, "a", second); err != nil {
		t.Errorf("Delete: %v", err)
	}
	if _, err := s.Load(ctx, "a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load after Delete: %v, want an error that wraps fs.ErrNotExist", err)
	}
	if err := s.Delete(ctx, "a", second); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("second Delete: %v, want ErrConflict", err)
	}
	if _, err := s.Save(ctx, "a", []byte("3"), second); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("Save with the revision of a deleted record: %v, want ErrConflict", err)
	}
	on(t, s).wantStored("a/b", "below", below)
}

func testList(t *testing.T, s, other storage.Store) {
	all := []string{"a", "a-b", "a.b/c", "a/b", "a/b/c", "a/bc", "ab", "b/a/b"}
	on(t, s).wantListed("")
	on(t, s).wantListed("a")
	for _, key := range all {
		on(t, s).save(key, "x", "")
	}
	on(t, other).wantListed("", all...)
	on(t, other).wantListed("a", "a", "a/b", "a/b/c", "a/bc")
	on(t, other).wantListed("a/b", "a/b", "a/b/c")
	on(t, other).wantListed("a/b/c", "a/b/c")
	on(t, other).wantListed("a.b", "a.b/c")
	on(t, other).wantListed("ab", "ab")
	on(t, other).wantListed("b", "b/a/b")
	on(t, other).wantListed("c")
	on(t, other).wantListed("a/b/c/d")
	for _, key := range []string{"a", "a/b/c"} {
		if err := s.Delete(t.Context(), key, on(t, s).load(key).Revision); err != nil {
			t.Fatalf("Delete(%q): %v", key, err)
		}
	}
	on(t, other).wantListed("a", "a/b", "a/bc")
}

func testListEarlyEnd(t *testing.T, s, other storage.Store) {
	ctx := t.Context()
	keys := []string{"a/1", "a/2", "a/3", "b"}
	for _, key := range keys {
		on(t, s).save(key, "x", "")
	}
	for range s.List(ctx, "") {
		break
	}
	for key, err := range s.List(ctx, "a") {
		if err != nil {
			t.Fatalf("List: %v", err)
		}
		if err := other.Delete(ctx, key, on(t, s).load(key).Revision); err != nil {
			t.Errorf("Delete(%q) while listing: %v", key, err)
		}
	}
	on(t, s).wantListed("", "b")
}

func testListWhileWriting(t *testing.T, s, other storage.Store) {
	const still = 30
	for i := range still {
		on(t, s).save(fmt.Sprintf("still/%d", i), "x", "")
		on(t, s).save(fmt.Sprintf("still/busy/%d", i), "x", "")
	}
	got := make(map[string]int)
	for key, err := range s.List(t.Context(), "still") {
		if err != nil {
			t.Fatalf("List while others write: %v", err)
		}
		got[key]++
		n := len(got) - 1
		if n >= still {
			continue
		}
		busy := fmt.Sprintf("still/busy/%d", n) // a writer between any two keys
		if n%2 == 0 {
			on(t, other).save(busy, "y", on(t, other).load(busy).Revision)
			on(t, other).save(fmt.Sprintf("still/new/%d", n), "x", "")
		} else if err := other.Delete(t.Context(), busy, on(t, other).load(busy).Revision); err != nil {
			t.Fatal(err)
		}
	}
	for i := range still {
		if key := fmt.Sprintf("still/%d", i); got[key] != 1 {
			t.Errorf("the listing yields %q, which nobody had changed, %d times", key, got[key])
		}
	}
}

func testContext(t *testing.T, s, _ storage.Store) {
	revision := on(t, s).save("a", "1", "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	want := func(method string, err error) {
		t.Helper()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s under a cancelled context: %v, want an error that wraps context.Canceled", method, err)
		}
	}
	_, err := s.Load(ctx, "a")
	want("Load", err)
	_, err = s.Save(ctx, "a", []byte("2"), revision)
	want("Save", err)
	want("Delete", s.Delete(ctx, "a", revision))
	err = nil
	for key, listErr := range s.List(ctx, "") {
		if err = listErr; err != nil && key != "" {
			t.Errorf("List yields the key %q with an error", key)
		}
	}
	want("List", err)
	_, err = storage.Update(ctx, s, "a", func([]byte) ([]byte, error) { return []byte("2"), nil })
	want("Update", err)
	on(t, s).wantStored("a", "1", revision)
}

func testUpdate(t *testing.T, s, other storage.Store) {
	ctx := t.Context()
	calls := 0
	item, err := storage.Update(ctx, s, "a", func(old []byte) ([]byte, error) {
		if calls++; calls == 1 {
			if old != nil {
				t.Errorf("the value of an absent key is %q, want nil", old)
			}
			if _, err := other.Save(ctx, "a", nil, ""); err != nil {
				t.Errorf("Save: %v", err)
			}
		} else if old == nil {
			return nil, errors.New("an empty value is passed as nil, which stands for an absent key")
		}
		return append(old, 'x'), nil
	})
	if err != nil || calls != 2 || string(item.Value) != "x" {
		t.Fatalf("Update beside another writer: %q, %v after %d calls; want x after 2", item.Value, err, calls)
	}
	on(t, other).wantStored("a", "x", item.Revision)

	refusal := errors.New("refused")
	if _, err := storage.Update(ctx, s, "a", func([]byte) ([]byte, error) { return []byte("y"), refusal }); err != refusal {
		t.Errorf("Update with a function that fails: %v, want its error", err)
	}
	on(t, other).wantStored("a", "x", item.Revision)
}
