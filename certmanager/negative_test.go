package certmanager

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// TestNegativesAreBounded remembers more negatives than there is room for, all of names that clients chose.
func TestNegativesAreBounded(t *testing.T) {
	var all negatives
	now := time.Now()
	denied := errors.New("denied")
	for i := range 3 * maxNegatives {
		name := fmt.Sprintf("n%d.example.com", i)
		all.add(name, &negative{until: now.Add(time.Minute), err: denied}, now)
		if err := all.find(name, now); !errors.Is(err, denied) {
			t.Fatalf("the negative of %s was not remembered: %v", name, err)
		}
		if len(all) > maxNegatives {
			t.Fatalf("%d negatives are remembered, at most %d may be", len(all), maxNegatives)
		}
	}
	if err := all.find("n29999.example.com", now.Add(time.Minute)); err != nil {
		t.Errorf("a negative whose time is over: %v", err)
	}
}
