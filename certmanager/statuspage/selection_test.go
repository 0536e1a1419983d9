package statuspage

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/everseal/everseal/certmanager"
)

// A page's selection is that of a sort of all, also if it is longer than what is kept at a time, and if many are alike.
func TestSelection(t *testing.T) {
	now := time.Now()
	for _, alike := range []int{1, 3, 5000} {
		for _, first := range []int{0, 29, 30} {
			s := selection{order: orderOf("expires"), most: 30}
			var hours []int
			for i := range 10_000 {
				hours = append(hours, i/alike)
			}
			rand.Shuffle(len(hours), func(i, j int) { hours[i], hours[j] = hours[j], hours[i] })
			for _, h := range hours {
				s.add(&certmanager.Status{Names: []string{"a"}, NotAfter: now.Add(time.Duration(h) * time.Hour)})
				if len(s.kept) > 1060 {
					t.Fatalf("%d are kept for 30", len(s.kept))
				}
			}
			slices.Sort(hours)
			var got []int
			for _, c := range s.after(first) {
				got = append(got, int(c.NotAfter.Sub(now)/time.Hour))
			}
			if want := hours[first:30]; !slices.Equal(got, want) {
				t.Errorf("of %d alike after %d come %v, want %v", alike, first, got, want)
			}
		}
	}
}

// Those that come first are moved before the others, however many they are to be.
func TestDivide(t *testing.T) {
	by, now := orderOf("expires"), time.Now()
	for n := range 41 {
		var all []*certmanager.Status
		for range 40 {
			all = append(all, &certmanager.Status{NotAfter: now.Add(time.Duration(rand.IntN(20)) * time.Hour)})
		}
		by.divide(all, n)
		if n > 0 && n < 40 && by(slices.MaxFunc(all[:n], by), slices.MinFunc(all[n:], by)) > 0 {
			t.Errorf("the first %d are not the first", n)
		}
	}
}
