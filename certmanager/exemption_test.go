package certmanager

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestBlindSpotsAreBounded(t *testing.T) {
	var b exemptions
	spot := func(i int) exemption { return exemption{fmt.Sprintf("www%d.example.com", i), "http-01"} }
	const many = 2*maxExemptions + 5
	for i := range many {
		b.add(spot(i), false)
		b.add(spot(i), false)
	}
	if len(b.known) != maxExemptions || len(b.order) != maxExemptions {
		t.Errorf("%d are known, in an order of %d, want %d", len(b.known), len(b.order), maxExemptions)
	}
	for i := range many {
		if want := i >= many-maxExemptions; b.has(spot(i)) != want {
			t.Fatalf("the %dth is known: %v, want %v", i, !want, want)
		}
	}
}

// One name that takes its time says nothing of others; several in succession do, for a while.
func TestSlowNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b exemptions
		spot := func(i int) exemption { return exemption{fmt.Sprintf("www%d.example.com", i), "http-01"} }
		for i := range maxSlowNames - 1 {
			b.add(spot(i), true)
			b.add(spot(i), true)
		}
		b.sawInTime("http-01")
		for i := range maxSlowNames {
			if b.has(spot(100)) {
				t.Errorf("%d slow names have ended the looks", i)
			}
			b.add(spot(10+i), true)
		}
		if !b.has(spot(100)) || b.has(exemption{"www.example.com", "dns-01"}) {
			t.Error("slow names do not end the looks, or those of another type")
		}
		time.Sleep(slowPeriod)
		if b.has(spot(100)) || !b.has(spot(0)) {
			t.Error("the looks have ended for good, or that at a slow name has not")
		}
	})
}
