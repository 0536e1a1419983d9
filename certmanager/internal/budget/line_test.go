package budget_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/everseal/everseal/certmanager/internal/budget"
)

// Whatever joins, leaves and comes at its slot: one moves up for each that leaves, to where that stood, and all that are left
// have slots of their own, as many as there are without a gap.
func TestPlaces(t *testing.T) {
	const each = time.Minute
	r := rand.New(rand.NewPCG(5, 6))
	var line budget.Line
	now := begin
	var waiting []*budget.Place
	for range 5000 {
		switch waits := len(waiting); {
		case r.IntN(3) > 0 || waits == 0:
			waiting = append(waiting, line.Join(nil, budget.Supply{Now: now, Next: now.Add(each), Interval: each}))
		case r.IntN(3) > 0:
			i := r.IntN(waits)
			place := waiting[i]
			slot, end := place.Due(), slots(waiting)[waits-1]
			moved := place.Leave(now)
			if isLast := slot.Equal(end); (moved == nil) != isLast || moved != nil && !moved.Due().Equal(slot) {
				t.Fatalf("of those up to %v one leaves at %v, and %v moves", end, slot, moved)
			}
			if place.Leave(now) != nil {
				t.Fatal("a place is left twice")
			}
			waiting[i] = waiting[waits-1]
			waiting = waiting[:waits-1]
		default:
			now = slots(waiting)[0]
			for i, place := range waiting {
				if place.Due().Equal(now) {
					waiting[i] = waiting[len(waiting)-1]
					waiting = waiting[:len(waiting)-1]
					if r.IntN(2) == 0 && place.Leave(now) != nil {
						t.Fatal("somebody moves to a slot that has come")
					}
					break
				}
			}
		}
		for i, slot := range slots(waiting) {
			if gap := slot.Sub(now); gap != time.Duration(i+1)*each {
				t.Fatalf("the slot number %d of %d comes after %v", i, len(waiting), gap)
			}
		}
	}
	if line.IsEmpty(now) != (len(waiting) == 0) {
		t.Errorf("the line is empty: %v, and %d wait", line.IsEmpty(now), len(waiting))
	}
}

// slots returns those of the places, in their order.
func slots(places []*budget.Place) []time.Time {
	all := make([]time.Time, len(places))
	for i, p := range places {
		all[i] = p.Due()
	}
	slices.SortFunc(all, time.Time.Compare)
	return all
}
