package schedule

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

const day = 24 * time.Hour

var notBefore = time.Date(2026, time.November, 1, 12, 0, 0, 0, time.UTC)

func TestRenewal(t *testing.T) {
	tests := []struct {
		name     string
		lifetime time.Duration
		r        float64
		want     time.Duration
	}{
		{"90 days", 90 * day, 0.5, 56*day + 6*time.Hour},
		{"90 days, earliest", 90 * day, 0, 50*day + 15*time.Hour},
		{"90 days, a quarter", 90 * day, 0.25, 53*day + 10*time.Hour + 30*time.Minute},
		{"90 days, latest", 90 * day, 1, 61*day + 21*time.Hour},
		{"45 days", 45 * day, 1, 30*day + 22*time.Hour + 30*time.Minute},
		{"16 days", 16 * day, 0.5, 10 * day},
		{"just under 10 days", 10*day - 16, 0, 5*day - 8},
		{"160 hours", 160 * time.Hour, 0.5, 85 * time.Hour},
		{"160 hours, latest", 160 * time.Hour, 1, 90 * time.Hour},
		{"two minutes", 2 * time.Minute, 0, time.Minute},
		{"two minutes, latest", 2 * time.Minute, 1, 67*time.Second + 500*time.Millisecond},
		{"one nanosecond", 1, 0.5, 0},
		{"none", 0, 0.5, 0},
		{"negative", -90 * day, 0.5, 0},
		{"r below 0", 90 * day, -7, 50*day + 15*time.Hour},
		{"r above 1", 90 * day, 7, 61*day + 21*time.Hour},
		{"r infinite", 90 * day, math.Inf(1), 61*day + 21*time.Hour},
		{"r not a number", 90 * day, math.NaN(), 50*day + 15*time.Hour},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Renewal(notBefore, notBefore.Add(tt.lifetime), tt.r).Sub(notBefore)
			if got != tt.want {
				t.Errorf("renewal after %v, want %v", got, tt.want)
			}
		})
	}
}

func TestRenewalBounds(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		lifetime := time.Duration(r.Int64N(1 << r.IntN(63)))
		notAfter := notBefore.Add(lifetime)
		lower, higher := r.Float64(), r.Float64()
		if lower > higher {
			lower, higher = higher, lower
		}
		early, late := Renewal(notBefore, notAfter, lower), Renewal(notBefore, notAfter, higher)
		if early.Before(notBefore) || late.Before(early) {
			t.Fatalf("lifetime %v: %v for r = %v, %v for r = %v", lifetime, early, lower, late, higher)
		}
		if lifetime > 0 && !late.Before(notAfter) {
			t.Fatalf("lifetime %v, r = %v: renewed at the end", lifetime, higher)
		}
	}
}

// RFC 5280, section 4.1.2.5, has this notAfter for certificates without an end; no time.Duration is as long.
func TestRenewalOfEndlessCertificate(t *testing.T) {
	notAfter := time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC)
	got := Renewal(notBefore, notAfter, 0.5)
	if got.Year() < notBefore.Year()+100 || !got.Before(notAfter) {
		t.Errorf("renewal at %v", got)
	}
}

func TestRenewalSpreads(t *testing.T) {
	const certificates = 27_000
	r := rand.New(rand.NewPCG(1, 2))
	perHour := make(map[time.Duration]int)
	for range certificates {
		at := Renewal(notBefore, notBefore.Add(90*day), r.Float64())
		perHour[at.Sub(notBefore)/time.Hour]++
	}
	if len(perHour) != 270 {
		t.Errorf("renewals in %d hours, want 270", len(perHour))
	}
	for hour, n := range perHour {
		if n > 2*certificates/270 {
			t.Errorf("%d of %d renewals in hour %d", n, certificates, hour)
		}
	}
}
