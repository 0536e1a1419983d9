package storagetest

import (
	"fmt"
	"sync"
	"testing"

	"github.com/everseal/everseal/storage"
)

func (suite Suite) manyCases() []testCase {
	if suite.Many <= 0 {
		return nil
	}
	return []testCase{
		{"Many", "A fleet has a record for each of its names. Engines answer in pages, and a page too few is a certificate " +
			"that is neither served nor renewed.", suite.testMany},
	}
}

// testMany saves as many records as the suite asks for, a tenth of them below each of ten prefixes.
func (suite Suite) testMany(t *testing.T, s, other storage.Store) {
	key := func(n int) string { return fmt.Sprintf("many/%d/name-%d.example.com", n%10, n) }
	var saving sync.WaitGroup
	for first := range writers {
		saving.Go(func() {
			for n := first; n < suite.Many; n += writers {
				if _, err := s.Save(t.Context(), key(n), []byte("x"), ""); err != nil {
					t.Errorf("Save(%q): %v", key(n), err)
					return
				}
			}
		})
	}
	saving.Wait()
	for prefix, want := range map[string]int{"": suite.Many, "many": suite.Many, "many/7": (suite.Many + 2) / 10, "many/77": 0} {
		listed := make(map[string]bool)
		for key, err := range other.List(t.Context(), prefix) {
			if err != nil {
				t.Fatalf("List(%q): %v", prefix, err)
			}
			if listed[key] {
				t.Fatalf("List(%q) yields %q twice", prefix, key)
			}
			listed[key] = true
		}
		if len(listed) != want {
			t.Errorf("List(%q) yields %d keys, want %d", prefix, len(listed), want)
		}
	}
	half, cursor := scanCount(t, other, "", suite.Many/2)
	rest, _ := scanCount(t, other, cursor, suite.Many+1)
	if half+rest != suite.Many {
		t.Errorf("a scan of %d records yields %d, and %d more when it is resumed", suite.Many, half, rest)
	}
}

// scanCount scans up to a number of records and returns how many there were, and the last one's cursor.
func scanCount(t *testing.T, s storage.Store, cursor string, most int) (n int, last string) {
	t.Helper()
	for record, err := range storage.Scan(t.Context(), s, "many", cursor) {
		if err != nil {
			t.Fatalf("Scan: %v", err)
		}
		last = record.Cursor
		if n++; n == most {
			break
		}
	}
	return n, last
}
