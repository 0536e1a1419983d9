package certmanager

import (
	"math/rand/v2"
	"testing"
)

// Whatever handshakes load while it is counted what is to be loaded, the loading is over when all of that is loaded, and not before.
func TestLoadingIsCounted(t *testing.T) {
	for seed := range uint64(500) {
		random, l := rand.New(rand.NewPCG(seed, 1)), loader{new(obtainer)}
		entries := make([]*entry, 1+random.IntN(6))
		l.loading.begin(len(entries))
		var steps []func()
		n, left, counted := 0, len(entries), false
		for i := range entries {
			e := newEntry(*subjectOf("example.com"), managed)
			entries[i] = e
			steps = append(steps, func() {
				l.loaded(e)
				l.loading.one(e) // as when it is forgotten then
				left--
			})
		}
		random.Shuffle(len(steps), func(i, j int) { steps[i], steps[j] = steps[j], steps[i] })
		for looked := 0; len(steps) > 0 || !counted; {
			switch {
			case len(steps) > 0 && random.IntN(2) == 0:
				steps[0]()
				steps = steps[1:]
			case looked < len(entries):
				if awaitsStart(entries[looked]) {
					n++
				}
				looked++
			case !counted:
				l.loading.count(n)
				counted = true
			}
			isOver := false
			select {
			case <-l.loading.over:
				isOver = true
			default:
			}
			if want := counted && left == 0; isOver != want {
				t.Fatalf("seed %d: over %v, with %d of %d left, counted %v", seed, isOver, left, len(entries), counted)
			}
		}
	}
}
