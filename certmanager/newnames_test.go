package certmanager

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// TestNewNames fills and empties buckets.
func TestNewNames(t *testing.T) {
	n, now := newNames{most: 3}, time.Unix(1e9, 0)
	take := func(want bool) {
		t.Helper()
		if err := n.take("example.com", now); (err == nil) != want || err != nil && !errors.Is(err, errCapped) {
			t.Errorf("at %v: %v", now, err)
		}
	}
	for range 3 {
		take(true)
	}
	take(false)
	now = now.Add(20*time.Minute - 1)
	take(false)
	now = now.Add(1)
	take(true)
	take(false)
	now = now.Add(24 * time.Hour)
	for range 3 {
		take(true)
	}
	take(false)
	now = now.Add(-48 * time.Hour) // the clock is set back
	take(false)
}

// TestNewNamesAreBounded takes names of more domains than are counted: those with the most taken stay.
func TestNewNamesAreBounded(t *testing.T) {
	n, now := newNames{most: 3}, time.Unix(1e9, 0)
	for range 3 {
		_ = n.take("busy.example", now)
	}
	for i := range 2 * maxNewDomains {
		if err := n.take(fmt.Sprint(i), now); err != nil {
			t.Fatal(err)
		}
		if len(n.fullAt) > maxNewDomains {
			t.Fatalf("%d domains are counted", len(n.fullAt))
		}
	}
	if err := n.take("busy.example", now); err == nil {
		t.Error("the busiest domain was forgotten")
	}
	now = now.Add(time.Hour)
	for i := range 10000 {
		_ = n.take(fmt.Sprint("later", i), now)
	}
	if len(n.fullAt) > maxNewDomains {
		t.Errorf("%d domains are counted", len(n.fullAt))
	}
}
