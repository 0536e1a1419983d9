package s3

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/everseal/everseal/storage"
)

func keysOf(t *testing.T, s *Store, prefix string) []string {
	t.Helper()
	var keys []string
	for key, err := range s.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	return keys
}

// Between "a" and "a/b" there may be more names than a page has, which the listing passes over.
func TestListPassesOver(t *testing.T) {
	f, d := newFake(t)
	s := d.open(t)
	for _, key := range []string{"a", "a/1", "a/2", "a0"} {
		save(t, s, key, key, "")
	}
	f.mu.Lock()
	for i := range 1500 {
		f.objects[s.name(fmt.Sprintf("a-%d", i))] = f.objects[s.name("a0")]
		f.objects[s.name(fmt.Sprintf("a0/%d", i))] = f.objects[s.name("a0")]
	}
	f.mu.Unlock()
	f.taken()
	if got := keysOf(t, s, "a"); !slices.Equal(got, []string{"a", "a/1", "a/2"}) {
		t.Errorf("List yields %q", got)
	}
	if n := len(f.taken()); n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
	if n := len(keysOf(t, s, "a0")); n != 1501 {
		t.Errorf("List yields %d keys, want 1501", n)
	}
	if n := len(keysOf(t, s, "")); n != 3004 {
		t.Errorf("List yields %d keys, want 3004", n)
	}
}

// Tombstones are in listings, and are neither listed nor read.
func TestListLeavesTombstonesOut(t *testing.T) {
	f, d := newFake(t)
	s := d.open(t)
	for i := range 10 {
		key := fmt.Sprintf("a/%d", i)
		revision := save(t, s, key, "", "") // an empty value is no tombstone
		if i%2 == 0 {
			if err := s.Delete(t.Context(), key, revision); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := strings.Join(keysOf(t, s, "a"), " "); got != "a/1 a/3 a/5 a/7 a/9" {
		t.Errorf("List yields %s", got)
	}
	f.taken()
	n := 0
	for _, err := range s.Scan(t.Context(), "a", "") {
		if n++; err != nil {
			t.Fatal(err)
		}
	}
	if requests := f.taken(); n != 5 || len(requests) != 6 {
		t.Errorf("Scan yields %d records with the requests %q", n, requests)
	}
}

// A scan reads ahead, but not more than it may, and leaves nothing running when its caller stops.
func TestScanReadsAhead(t *testing.T) {
	_, d := newFake(t)
	direct := d.open(t)
	for i := range 100 {
		save(t, direct, fmt.Sprintf("a/%d", i), "x", "")
	}
	var running, most, all atomic.Int64
	s := through(t, direct, func(r *http.Request, next tripper) (*http.Response, error) {
		n := running.Add(1)
		defer running.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		all.Add(1)
		return next(r)
	})
	for _, err := range s.Scan(t.Context(), "a", "") {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	if running.Load() != 0 || all.Load() > readAhead+2 {
		t.Errorf("a scan that is broken off after a record has made %d requests, and %d are under way", all.Load(), running.Load())
	}
	for _, err := range s.Scan(t.Context(), "a", "") {
		if err != nil {
			t.Fatal(err)
		}
	}
	if most.Load() > readAhead+1 {
		t.Errorf("%d requests at once, want %d at most", most.Load(), readAhead)
	}
	n := 0
	for record, err := range s.Scan(t.Context(), "a", "elsewhere") { // a cursor that is none
		if n++; err != nil || !storage.Within(record.Key, "a") {
			t.Errorf("%q, %v", record.Key, err)
		}
	}
	if n != 100 {
		t.Errorf("%d records, want 100", n)
	}
}
