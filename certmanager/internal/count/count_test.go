package count_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/everseal/everseal/certmanager/internal/count"
)

// Nothing is lost or counted as another kind, however many count at once, and it costs no allocation.
func TestSpread(t *testing.T) {
	var s count.Spread
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for i := range 1000 {
				s.Add(uint8(i%3), &i)
			}
		})
	}
	group.Wait()
	for kind, want := range []int64{8 * 334, 8 * 333, 8 * 333, 0} {
		if got := s.Count(uint8(kind)); got != want {
			t.Errorf("%d of kind %d, want %d", got, kind, want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { s.Add(1, &s) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Days has 30 days, of which those before are forgotten.
func TestDays(t *testing.T) {
	var d count.Days[int]
	begin := time.Date(2026, 2, 20, 23, 59, 59, 0, time.UTC)
	*d.At(begin) = 1
	*d.At(begin.Add(time.Second)) += 2
	*d.At(begin.Add(2 * time.Second)) += 3
	read := func(now time.Time) (dates []time.Time, counted []int) {
		d.All(now, func(date time.Time, n int) { dates, counted = append(dates, date), append(counted, n) })
		return dates, counted
	}
	dates, counted := read(begin.Add(time.Hour))
	if len(dates) != 30 || !dates[29].Equal(time.Date(2026, 2, 21, 0, 0, 0, 0, time.UTC)) || !dates[0].Equal(time.Date(2026, 1, 23, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("days %v", dates)
	}
	if !slices.Equal(counted[28:], []int{1, 5}) {
		t.Errorf("counted %v", counted)
	}
	later := begin.Add(30 * 24 * time.Hour)
	if _, counted := read(later); counted[0] != 5 || counted[29] != 0 {
		t.Errorf("30 days later: %v", counted)
	}
	*d.At(later)++ // in the place of the first
	if _, counted := read(later); counted[29] != 1 || counted[0] != 5 {
		t.Errorf("30 days later: %v", counted)
	}
	if _, counted := read(later.Add(365 * 24 * time.Hour)); slices.Max(counted) != 0 {
		t.Errorf("a year later: %v", counted)
	}
	d.All(time.Unix(-1, 0), func(time.Time, int) {}) // a clock may be wrong
}

// A duration counts in the bucket whose bound it does not exceed.
func TestHistogram(t *testing.T) {
	var h count.Histogram
	bounds := count.Bounds()
	for _, bound := range bounds {
		h.Add(bound)
	}
	h.Add(0)
	h.Add(time.Hour)
	want := append(slices.Repeat([]int64{1}, len(bounds)), 1)
	want[0] = 2
	if got := h.Buckets(); !slices.Equal(got, want) || !slices.IsSorted(bounds) {
		t.Errorf("buckets %v, want %v", got, want)
	}
	if h.Sum() < time.Hour {
		t.Errorf("sum %v", h.Sum())
	}
}
