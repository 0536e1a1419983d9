package solver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

// A deferral is the error of a solver that does not wait, as its users find it.
type deferral interface {
	error
	RetryAfter() time.Duration
	Check(ctx context.Context) error
}

// wantDeferral returns the error as a deferral that came at once, or fails the test.
func wantDeferral(t *testing.T, err error, begun time.Time) deferral {
	t.Helper()
	d, ok := errors.AsType[deferral](err)
	if !ok || time.Since(begun) != 0 {
		t.Fatalf("after %v: %v, want a deferral at once", time.Since(begun), err)
	}
	if wait := d.RetryAfter(); wait <= 0 || wait > maxTurnInterval*5/4 {
		t.Fatalf("to be checked after %v", wait)
	}
	return d
}

// presentInTurn has the solver present the proof, as somebody does who has other work meanwhile.
func presentInTurn(t *testing.T, s acme.Solver, p acme.Proof) {
	t.Helper()
	for {
		begun := time.Now()
		err := s.Present(t.Context(), p)
		if err == nil {
			return
		}
		for err != nil {
			d := wantDeferral(t, err, begun)
			_ = pause(t.Context(), d.RetryAfter())
			begun = time.Now()
			err = d.Check(t.Context())
		}
	}
}

// Who does not wait is told so at once, without a trace in the storage, and has the place soon after it is free.
func TestDeferral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(sharedStore)
		first, second := orderProof("example.com", "ca1.example", "account1", "first"), orderProof("example.com", "ca2.example", "account2", "second")
		other := &TLSALPN01{Storage: store}
		solver := &TLSALPN01{Storage: store}
		s := solver.WithDeferral()
		if err := other.Present(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		d := wantDeferral(t, s.Present(t.Context(), second), time.Now())
		for _, want := range []string{"example.com", "https://ca1.example/directory", "https://ca2.example/directory"} {
			if !strings.Contains(d.Error(), want) {
				t.Errorf("%v does not say %q", d, want)
			}
		}
		store.loads.Store(0)
		wantDeferral(t, d.Check(t.Context()), time.Now())
		if n := store.loads.Load(); n != 1 {
			t.Errorf("a check took %d loads, want 1", n)
		}
		if got := storedAnswer(t, store, "example.com"); got != first.KeyAuthorization {
			t.Errorf("%q is stored", got)
		}
		done := make(chan time.Time)
		go func() {
			_ = pause(t.Context(), time.Minute)
			if err := other.CleanUp(t.Context(), first); err != nil {
				t.Error(err)
			}
			done <- time.Now()
		}()
		finished := make(chan time.Time, 1)
		go func() {
			presentInTurn(t, s, second)
			finished <- time.Now()
		}()
		if waited := -time.Until(<-done); waited != 0 {
			t.Fatal(waited)
		}
		freed := time.Now()
		if waited := (<-finished).Sub(freed); waited < 0 || waited > maxTurnInterval*5/4 {
			t.Errorf("it was presented %v after the place was free", waited)
		}
		if got := storedAnswer(t, store, "example.com"); got != second.KeyAuthorization {
			t.Errorf("%q is stored", got)
		}
		if hello := tlsALPN01Key(second.Identifier); !solver.gate.isYoung(hello, answer{KeyAuthorization: second.KeyAuthorization}) {
			t.Error("the solver itself does not know the answer")
		}
	})
}

// An answer that was left behind is found out as soon as by those who wait.
func TestDeferralAfterCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(storage.Memory)
		left := orderProof("example.com", "ca2.example", "account", "left")
		if err := (&TLSALPN01{Storage: store}).Present(t.Context(), left); err != nil {
			t.Fatal(err)
		}
		s := (&TLSALPN01{Storage: store}).WithDeferral()
		for _, test := range []struct {
			ca, account string
			least, most time.Duration
		}{
			{"ca1.example", "account", answerTerm, answerTerm},
			{"ca2.example", "another", answerTerm, 2 * answerTerm},
			{"ca3.example", "account", 2 * answerTerm, 2 * answerTerm},
		} {
			_ = pause(t.Context(), time.Hour) // what a clock shows counts for nothing
			begun := time.Now()
			next := orderProof("example.com", test.ca, test.account, fmt.Sprint("token", begun.Unix()))
			presentInTurn(t, s, next)
			if waited := time.Since(begun); waited < test.least || waited > test.most {
				t.Errorf("%s waited for %v, want %v to %v", test.ca, waited, test.least, test.most)
			}
		}
	})
}

// Whoever presents his answer again and again is alive, also to those who come back now and then.
func TestDeferralToWhoIsAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(storage.Memory)
		slow := orderProof("example.com", "ca2.example", "account2", "slow")
		holder, s := &TLSALPN01{Storage: store}, (&TLSALPN01{Storage: store}).WithDeferral()
		if err := holder.Present(t.Context(), slow); err != nil {
			t.Fatal(err)
		}
		err := s.Present(t.Context(), orderProof("example.com", "ca1.example", "account1", "waits"))
		for range 1000 {
			d := wantDeferral(t, err, time.Now())
			if err := holder.Wait(t.Context(), slow); err != nil {
				t.Fatal(err)
			}
			_ = pause(t.Context(), d.RetryAfter())
			err = d.Check(t.Context())
		}
	})
}

// Wait does not wait either, when another order has taken the answer for left behind.
func TestDeferralOfWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(storage.Memory)
		s := (&TLSALPN01{Storage: store}).WithDeferral().(*deferring)
		p := orderProof("example.com", "ca2.example", "account2", "slow")
		if err := s.Present(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if err := s.Wait(t.Context(), p); err != nil {
			t.Error(err)
		}
		if err := (&TLSALPN01{Storage: store}).Present(t.Context(), orderProof("example.com", "ca1.example", "account1", "fast")); err != nil {
			t.Fatal(err)
		}
		wantDeferral(t, s.Wait(t.Context(), p), time.Now())
	})
}

// That the storage fails is no deferral, and takes nothing from what was seen before.
func TestDeferralWithFailingStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &storagetest.Faulty{Store: new(storage.Memory)}
		if err := (&TLSALPN01{Storage: store}).Present(t.Context(), orderProof("example.com", "ca2.example", "account", "left")); err != nil {
			t.Fatal(err)
		}
		s := (&TLSALPN01{Storage: store}).WithDeferral()
		p := orderProof("example.com", "ca1.example", "account", "next")
		d := wantDeferral(t, s.Present(t.Context(), p), time.Now())
		begun := time.Now()
		_ = pause(t.Context(), answerTerm/2)
		store.SetFaults(storagetest.Fault{Kind: storagetest.Fail})
		for name, err := range map[string]error{"Check": d.Check(t.Context()), "Present": s.Present(t.Context(), p)} {
			if _, deferred := errors.AsType[deferral](err); err == nil || deferred || !strings.HasPrefix(err.Error(), "solver: ") || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %v, want an error of the storage", name, err)
			}
		}
		store.SetFaults()
		presentInTurn(t, s, p)
		if waited := time.Since(begun); waited != answerTerm {
			t.Errorf("it waited for %v", waited)
		}
	})
}

// What was seen of places that nobody comes back to is forgotten in the end.
func TestSightsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(storage.Memory)
		s := (&TLSALPN01{Storage: store}).WithDeferral().(*deferring)
		for i := range 2000 {
			name := fmt.Sprintf("name%d.example", i)
			if err := (&TLSALPN01{Storage: store}).Present(t.Context(), orderProof(name, "ca2.example", "account", "left")); err != nil {
				t.Fatal(err)
			}
			wantDeferral(t, s.Present(t.Context(), orderProof(name, "ca1.example", "account", "next")), time.Now())
			_ = pause(t.Context(), keepPeriod/100)
		}
		if n := len(s.sights.kept); n > 400 {
			t.Errorf("%d are kept, of about 100 that somebody may come back to", n)
		}
		presentInTurn(t, s, orderProof("name1999.example", "ca1.example", "account", "next"))
		if _, kept := s.sights.kept["challenges/tls-alpn-01/name1999.example"]; kept {
			t.Error("what was seen is kept though it has had its turn")
		}
	})
}
