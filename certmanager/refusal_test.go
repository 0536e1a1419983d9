package certmanager

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// TestRefusalsAreBounded remembers more refusals than there is room for, all of names that clients chose.
func TestRefusalsAreBounded(t *testing.T) {
	var all refusals
	now := time.Now()
	denied := errors.New("denied")
	for i := range 3 * mostRefusals {
		name := fmt.Sprintf("n%d.example.com", i)
		all.add(name, &refusal{until: now.Add(time.Minute), err: denied}, now)
		if err := all.find(name, now); !errors.Is(err, denied) {
			t.Fatalf("the refusal of %s was not remembered: %v", name, err)
		}
		if len(all) > mostRefusals {
			t.Fatalf("%d refusals are remembered, at most %d may be", len(all), mostRefusals)
		}
	}
	if err := all.find("n29999.example.com", now.Add(time.Minute)); err != nil {
		t.Errorf("a refusal whose time is over: %v", err)
	}
}
