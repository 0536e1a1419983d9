package storagetest

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/everseal/everseal/storage"
)

func lostAnswerCases() []testCase {
	return []testCase{
		{"LostAnswer", "A connection can break after the value was stored. Whoever repeats the call must get a conflict, not " +
			"a second success: two that save the same value would both believe to have created it.", testLostAnswer},
		{"LostAnswers", "If answers get lost, a writer finds out by what it loads whether its write has come through. " +
			"Nothing may be done twice, and nothing lost.", testLostAnswers},
	}
}

// losing returns the store with answers to writes that get lost: a share of them.
func losing(s storage.Store, share float64) *Faulty {
	f := &Faulty{Store: s}
	f.SetFaults(Fault{Kind: Lost, On: Writes, Share: share})
	return f
}

func testLostAnswer(t *testing.T, s, other storage.Store) {
	ctx := t.Context()
	lossy := losing(s, 1)
	repeat := func(value string, old storage.Revision) storage.Item {
		t.Helper()
		if _, err := lossy.Save(ctx, "a", []byte(value), old); !errors.Is(err, ErrFault) {
			t.Fatalf("Save whose answer is lost: %v", err)
		}
		for _, handle := range []storage.Store{s, other} {
			if _, err := handle.Save(ctx, "a", []byte(value), old); !errors.Is(err, storage.ErrConflict) {
				t.Errorf("the same Save, after its answer was lost: %v, want ErrConflict", err)
			}
		}
		item := on(t, other).load("a")
		if string(item.Value) != value {
			t.Errorf("Load after a lost answer: %q, want %q", item.Value, value)
		}
		return item
	}
	created := repeat("1", "")
	swapped := repeat("1", created.Revision) // an equal value is a change all the same
	swapped = repeat("2", swapped.Revision)
	if err := lossy.Delete(ctx, "a", swapped.Revision); !errors.Is(err, ErrFault) {
		t.Fatalf("Delete whose answer is lost: %v", err)
	}
	if err := other.Delete(ctx, "a", swapped.Revision); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("the same Delete, after its answer was lost: %v, want ErrConflict", err)
	}
	if _, err := other.Load(ctx, "a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load after a Delete whose answer was lost: %v, want fs.ErrNotExist", err)
	}
}

func testLostAnswers(t *testing.T, s, other storage.Store) {
	const each = 3
	lossy, otherLossy := losing(s, 0.3), losing(other, 0.3)
	together(t, lossy, otherLossy, func(w writer) error {
		for n := range each {
			if err := appendOnce(t, w, fmt.Sprintf("%d.%d;", w.number, n)); err != nil {
				return err
			}
		}
		return nil
	})
	list := strings.SplitAfter(string(on(t, s).load("list").Value), ";")
	list = slices.DeleteFunc(list, func(id string) bool { return id == "" })
	slices.Sort(list)
	if n := len(slices.Compact(slices.Clone(list))); n != writers*each || n != len(list) {
		t.Errorf("%d writers have each appended %d ids; there are %d, of them %d different", writers, each, len(list), n)
	}
	if lossy.Hits()+otherLossy.Hits() == 0 {
		t.Error("no answer was lost")
	}
}

// appendOnce adds the id to the list unless it is there: by a write whose answer was lost.
func appendOnce(t *testing.T, w writer, id string) error {
	for {
		var added bool
		_, err := storage.Update(t.Context(), w.Store, "list", func(old []byte) ([]byte, error) {
			w.meet()
			added = strings.Contains(";"+string(old), ";"+id)
			if added {
				return nil, errAdded
			}
			return append(old, id...), nil
		})
		switch {
		case added || err == nil:
			return nil
		case !errors.Is(err, ErrFault):
			return err
		}
	}
}

var errAdded = errors.New("it is in the list")
