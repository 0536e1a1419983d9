package schedule

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func TestAfterIssuance(t *testing.T) {
	const minute, year = time.Minute, 365 * day
	for _, test := range []struct {
		name          string
		due, obtained time.Duration // after notBefore
		lifetime      time.Duration
		r             float64
		want          time.Duration
	}{
		{"as usual", 60 * day, 0, 90 * day, 0.5, 60 * day},
		{"backdated by an hour", 60 * day, time.Hour, 90 * day, 0.5, 60 * day},
		{"due in the moment of the earliest", 50 * day, 10 * day, 90 * day, 0.5, 50 * day},
		{"due a moment before", 50*day - 1, 10 * day, 90 * day, 0, 50 * day},
		{"due before, spread by half", 50*day - 1, 10 * day, 90 * day, 0.25, 50*day + 80*day/64},
		{"13 of 24 hours backdated", 12 * time.Hour, 13 * time.Hour, 24 * time.Hour, 0, 18*time.Hour + 30*minute},
		{"obtained 30 seconds before the end", 60 * day, 90*day - 30*time.Second, 90 * day, 0, 90*day - 15*time.Second},
		{"30 seconds", 15 * time.Second, 20 * time.Second, 30 * time.Second, 0, 25 * time.Second},
		{"30 seconds, as usual", 15 * time.Second, 0, 30 * time.Second, 0, 15 * time.Second},
		{"5 minutes", 150 * time.Second, minute, 5 * minute, 0, 3 * minute},
		{"6 days", 3 * day, 4 * day, 6 * day, 0, 5 * day},
		{"10 years", 2433 * day, 5 * year, 10 * year, 0, 7*year + year/2},
		{"obtained at the end", 60 * day, 90 * day, 90 * day, 0.5, 60 * day},
		{"obtained after the end", 60 * day, 900 * day, 90 * day, 0.5, 60 * day},
		{"obtained before the beginning", 60 * day, -year, 90 * day, 0.5, 60 * day},
		{"obtained a little before the beginning", 44*day + day/2, -day, 90 * day, 0, 44*day + day/2},
		{"a nanosecond is left", 0, 0, 1, 0.9, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := AfterIssuance(notBefore.Add(test.due), notBefore.Add(test.obtained), notBefore.Add(test.lifetime), test.r).Sub(notBefore)
			if got != test.want {
				t.Errorf("renewal after %v, want %v", got, test.want)
			}
		})
	}
}

// TestAfterIssuanceBounds checks for random certificates, obtained at random times, that they are renewed in time, and not
// before half of what was left of them is over.
func TestAfterIssuanceBounds(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		lifetime := time.Duration(r.Int64N(1 << r.IntN(62)))
		notAfter := notBefore.Add(lifetime)
		obtained := notBefore.Add(time.Duration((2*r.Float64() - 0.5) * float64(lifetime)))
		spread := r.Float64()
		due := Renewal(notBefore, notAfter, spread)
		got := AfterIssuance(due, obtained, notAfter, spread)
		left := notAfter.Sub(obtained)
		switch {
		case left <= 0:
			if !got.Equal(due) {
				t.Fatalf("lifetime %v, obtained %v after its end: renewal moved from %v to %v", lifetime, -left, due, got)
			}
		case got.Before(due) || got.Sub(obtained) < left/2 || lifetime > 0 && !got.Before(notAfter):
			t.Fatalf("lifetime %v, %v left, spread %v: renewal moved from %v to %v", lifetime, left, spread, due, got)
		case !due.Before(obtained.Add(left/2)) && !got.Equal(due):
			t.Fatalf("lifetime %v, %v left: renewal moved without need from %v to %v", lifetime, left, due, got)
		}
	}
}

// TestAfterIssuanceOfEndlessCertificate has no overflow, whatever the clock was.
func TestAfterIssuanceOfEndlessCertificate(t *testing.T) {
	notAfter := time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC)
	due := Renewal(notBefore, notAfter, 0.5)
	for _, year := range []int{1, 1970, 2026, 2500, 9000, 9999} {
		obtained := time.Date(year, time.May, 1, 0, 0, 0, 0, time.UTC)
		if got := AfterIssuance(due, obtained, notAfter, 0.5); got.Before(due) || !got.Before(notAfter) {
			t.Errorf("obtained in %d: renewal moved from %v to %v", year, due, got)
		}
	}
}

// TestAfterIssuanceSpreads has what a CA backdates come due spread over a sixteenth of what is left.
func TestAfterIssuanceSpreads(t *testing.T) {
	for _, lifetime := range []time.Duration{30 * time.Second, 5 * time.Minute, 6 * day, 90 * day, 3650 * day} {
		const certificates, parts = 6000, 20
		notAfter, obtained := notBefore.Add(lifetime), notBefore.Add(lifetime/10*9)
		earliest, window := obtained.Add(lifetime/10/2), lifetime/10/16
		r := rand.New(rand.NewPCG(1, 2))
		var perPart [parts + 1]int
		for range certificates {
			spread := r.Float64()
			at := AfterIssuance(Renewal(notBefore, notAfter, spread), obtained, notAfter, spread)
			perPart[at.Sub(earliest)*parts/window]++
		}
		for part, n := range perPart[:parts] {
			if n < certificates/parts/2 || n > certificates/parts*2 {
				t.Errorf("lifetime %v: %d of %d in part %d of the window", lifetime, n, certificates, part)
			}
		}
	}
	got := AfterIssuance(notBefore, notBefore, notBefore.Add(day), math.NaN())
	if !got.Equal(notBefore.Add(day / 2)) {
		t.Errorf("without a number renewal is moved to %v", got)
	}
}
