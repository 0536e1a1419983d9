package solver_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver/internal/solvertest"
	"github.com/everseal/everseal/storage/storagetest"
)

// oldAndNew returns the proofs of two orders that meet at one place.
func oldAndNew(s acme.Solver) (older, newer acme.Proof) {
	older = solvertest.NewProof(s.Type(), "example.com")
	newer = older
	newer.KeyAuthorization = solvertest.Token + "." + strings.Repeat("x", 43)
	return older, newer
}

// An answer that nothing is in the way of costs the storage a save and a deletion. It is loaded only to settle a conflict.
func TestAnswersCostLittle(t *testing.T) {
	store := new(watchedStore)
	check := func(s acme.Solver, what string, want int) {
		t.Helper()
		if n := store.asked(); n != want {
			t.Errorf("%s: %s took %d calls of the storage, want %d", s.Type(), what, n, want)
		}
	}
	for i, s := range solversOn(store) {
		p := solvertest.NewProof(s.Type(), "example.com")
		store.asked()
		solvertest.Present(t, s, p)
		check(s, "Present", 1)
		solvertest.Present(t, s, p)
		check(s, "Present once more", 3)
		solvertest.CleanUp(t, s, p)
		check(s, "CleanUp", 1)

		// What this process has presented, another presents again, and resumes the order.
		solvertest.Present(t, s, p)
		solvertest.Present(t, solversOn(store)[i], p)
		store.asked()
		solvertest.CleanUp(t, s, p)
		check(s, "CleanUp of what another has presented again", 3)
		if keys := keysOf(t, store); keys != nil {
			t.Errorf("%s: there are still %q", s.Type(), keys)
		}
	}
}

// A process was killed and left an answer where another order's goes. For http-01 there is no wait for it.
func TestPresentReplacesOldAnswer(t *testing.T) {
	store := new(watchedStore)
	s := solversOn(store)[0]
	older, newer := oldAndNew(s)
	solvertest.Present(t, solversOn(store)[0], older)
	solvertest.Present(t, s, newer)
	item, err := store.Load(t.Context(), keysOf(t, store)[0])
	if err != nil || !strings.Contains(string(item.Value), newer.KeyAuthorization) {
		t.Errorf("stored is %s, %v; want the newer answer", item.Value, err)
	}
	store.asked()
	solvertest.CleanUp(t, s, newer)
	if n, keys := store.asked(), keysOf(t, store); n != 1 || keys != nil {
		t.Errorf("%q are left after %d calls, want none after 1", keys, n)
	}
}

// What was stored though the storage said nothing of it is presented again, and cleaned up.
func TestPresentAfterLostReply(t *testing.T) {
	store := new(watchedStore)
	for _, s := range solversOn(store) {
		p := solvertest.NewProof(s.Type(), "example.com")
		store.SetFaults(storagetest.Fault{Kind: storagetest.Lost, On: storagetest.Save, Times: 1, Err: errStoreDown})
		if err := s.Present(t.Context(), p); !errors.Is(err, errStoreDown) || keysOf(t, store) == nil {
			t.Errorf("%s: error %v, with %q stored", s.Type(), err, keysOf(t, store))
		}
		solvertest.Present(t, s, p)
		solvertest.CleanUp(t, s, p)
		if keys := keysOf(t, store); keys != nil {
			t.Errorf("%s: there are still %q", s.Type(), keys)
		}
	}
}
