package certmanager

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"testing"

	"github.com/everseal/everseal/storage"
)

// endlessKeys lists many keys, in an order of its own, without having them in memory.
type endlessKeys struct {
	storage.Store
	n int
}

func (e endlessKeys) List(context.Context, string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for i := range e.n {
			if !yield(fmt.Sprintf("work/local/%07d/ecdsa-p256", i*7919%e.n), nil) {
				return
			}
		}
	}
}

// TestSweepBatches lists a hundred thousand keys: they come in their order, each once, and no more of them are kept than
// two batches have.
func TestSweepBatches(t *testing.T) {
	const n = 105_000
	s := &sweep{steady: steadyStore{endlessKeys{n: n}}}
	asked := 0
	r := rule{prefix: "work", mayGo: func(string) bool { asked++; return true }}
	seen, last := 0, ""
	for more := true; more; {
		var keys []string
		var err error
		if keys, more, err = s.candidates(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if len(keys) == 0 || len(keys) > sweepBatch || cap(keys) > 4*sweepBatch || !slices.IsSorted(keys) || keys[0] <= last {
			t.Fatalf("%d keys, with room for %d, from %s on, after %s", len(keys), cap(keys), keys[0], last)
		}
		seen, last = seen+len(keys), keys[len(keys)-1]
		s.moveTo(r, last)
	}
	if seen != n || s.found != n {
		t.Errorf("%d keys of %d came, want %d", seen, s.found, n)
	}
}
