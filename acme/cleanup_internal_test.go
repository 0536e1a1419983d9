package acme

import (
	"testing"
)

// What an earlier process presented by a solver that is configured no longer is told.
func TestNobodyCleansUp(t *testing.T) {
	told := 0
	r := &Request{CleanUpFailed: func(Proof, error) { told++ }}
	r.cleanUp(t.Context(), []Proof{{Challenge: Challenge{Type: TypeDNS01, URL: "https://ca.example/1"}}}, r.able)
	if told != 1 {
		t.Errorf("told %d times that a record stays, want once", told)
	}
}
