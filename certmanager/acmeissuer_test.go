package certmanager

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

// boundAlone returns the only issuer, bound.
func boundAlone(t *testing.T, issuer Issuer, s Services) *gatedIssuer {
	t.Helper()
	var wrong misconfiguration
	all := bind([]Issuer{issuer}, s, func(context.Context, Event) {}, &wrong)
	if err := wrong.err(); err != nil {
		t.Fatal(err)
	}
	return all[0]
}

// newAccountScene returns an ACME issuer of a CA in memory, and how many requests for an account that has had.
func newAccountScene(t *testing.T, faults ...acmetest.Fault) (issuer *acmeIssuer, registrations func() int) {
	ca := acmetest.NewUnstartedServer()
	ca.SetFaults(faults...)
	ca.StartInMemory()
	t.Cleanup(ca.Close)
	issuer = newACMEIssuer(&ACME{DirectoryURL: ca.URL, AgreeToTerms: true, HTTPClient: ca.Client()}, Services{})
	return issuer, func() int { return ca.Requests()["newAccount"] }
}

// TestOpeningPassesOn has whoever opens the account go away while the CA is slow: one of those who wait opens it.
func TestOpeningPassesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer, registrations := newAccountScene(t, acmetest.On("newAccount", acmetest.Next(1, acmetest.Delay(time.Minute))))
		store := new(storage.Memory)
		first, leave := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() {
			_, err := issuer.account.open(first, store, openAccount{})
			if !errors.Is(err, context.Canceled) || errors.As(err, new(*UnavailableError)) {
				t.Errorf("the error for the one that went is %v", err)
			}
		})
		synctest.Wait()
		opened := make(chan openAccount, 10)
		for range cap(opened) {
			group.Go(func() {
				account, err := issuer.account.open(t.Context(), store, openAccount{})
				if err != nil {
					t.Error(err)
				}
				opened <- account
			})
		}
		late, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := issuer.account.open(late, store, openAccount{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the error for one that has no time is %v", err)
		}
		leave()
		group.Wait()
		account := <-opened
		for len(opened) > 0 {
			if other := <-opened; other != account {
				t.Errorf("%+v and %+v", account, other)
			}
		}
		if n := registrations(); account.client == nil || n != 2 {
			t.Errorf("%+v, %d registrations; want one in vain and one more", account, n)
		}
	})
}

// TestFailingStorageOfTheAccount is not the issuer's failure, and does not put it off.
func TestFailingStorageOfTheAccount(t *testing.T) {
	disk := errors.New("no space left on device")
	for _, method := range []storagetest.Methods{storagetest.Load, storagetest.Save} {
		for calls := range 2 { // before the key is stored, and when the URL is
			synctest.Test(t, func(t *testing.T) {
				issuer, _ := newAccountScene(t)
				store := new(storagetest.Faulty)
				store.SetFaults(storagetest.Fault{On: method, After: calls, Err: disk})
				g := boundAlone(t, &issuer.ACME, Services{Storage: store})
				_, err := g.issue(t.Context(), Request{}, time.Time{}, func() {})
				if !errors.Is(err, disk) || !errors.As(err, new(storageError)) || errors.As(err, new(*UnavailableError)) {
					t.Errorf("%v after %d calls: %v", method, calls, err)
				}
				if g.closed(time.Time{}) != nil {
					t.Errorf("%v after %d calls: %v", method, calls, g.closed(time.Time{}))
				}
				store.SetFaults()
				if _, err := g.bound.(*acmeIssuer).account.open(t.Context(), store, openAccount{}); err != nil {
					t.Errorf("%v after %d calls: with a storage that works: %v", method, calls, err)
				}
			})
		}
	}
}

// TestRegistrationWaits has the CA name the time at which to ask for an account again.
func TestRegistrationWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limited := func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Retry-After", "18000")
				http.Error(w, "slow down", http.StatusTooManyRequests)
			})
		}
		issuer, registrations := newAccountScene(t, acmetest.On("newAccount", acmetest.Next(1, limited)))
		store := new(storage.Memory)
		// Of a front end, an hour is believed. For as long, the issuer's gate keeps out whoever has the time.
		for _, test := range []struct{ pause, wait time.Duration }{{0, time.Hour}, {time.Minute - 1, 1}} {
			time.Sleep(test.pause)
			_, err := issuer.account.open(t.Context(), store, openAccount{})
			unavailable, ok := errors.AsType[*UnavailableError](err)
			if !ok || unavailable.RetryAfter != test.wait || registrations() != 1 {
				t.Fatalf("%v after %d registrations, want one to be obeyed for %v", err, registrations(), test.wait)
			}
		}
		time.Sleep(time.Nanosecond)
		if _, err := issuer.account.open(t.Context(), store, openAccount{}); err != nil || registrations() != 2 {
			t.Errorf("%v after %d registrations", err, registrations())
		}
	})
}

// TestStepsAreNoted follows the notes of an order, and what the issuer's gate is told.
func TestStepsAreNoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers, records := 0, 0
		i := &acmeIssuance{issuer: newACMEIssuer(&ACME{DirectoryURL: "https://ca.example/directory"}, Services{}), request: &Request{
			Record:   func(context.Context, []byte) error { records++; return nil },
			Answered: func() { answers++ },
		}}
		start := time.Now().UTC()
		for _, test := range []struct {
			step             acme.Step
			answers, records int // so far
			finalized        time.Duration
		}{
			{acme.Step{Action: acme.ActionOrder}, 0, 0, -1},
			{acme.Step{Action: acme.ActionAuthorize, OrderURL: "https://ca.example/1"}, 1, 1, -1},
			{acme.Step{Action: acme.ActionPresent, Proofs: make([]acme.Proof, 1)}, 1, 2, -1},
			// Resumed, after its process was killed.
			{acme.Step{Action: acme.ActionAuthorize, OrderURL: "https://ca.example/1"}, 2, 3, 3 * time.Hour},
			{acme.Step{Action: acme.ActionAuthorize, OrderURL: "https://ca.example/1"}, 3, 3, 3 * time.Hour},
			{acme.Step{Action: acme.ActionFinalize}, 3, 3, 5 * time.Hour},
			{acme.Step{Action: acme.ActionDownload}, 3, 3, 5 * time.Hour},
		} {
			if err := i.before(t.Context(), test.step); err != nil {
				t.Fatal(err)
			}
			if answers != test.answers || records != test.records {
				t.Errorf("%v: %d answers and %d records, want %d and %d", test.step, answers, records, test.answers, test.records)
			}
			if finalized := i.notes.FinalizedAt; finalized.IsZero() != (test.finalized < 0) || !finalized.IsZero() && finalized.Sub(start) != test.finalized {
				t.Errorf("%v: it was finalized %v after the start, want %v", test.step, finalized.Sub(start), test.finalized)
			}
			time.Sleep(time.Hour)
		}
	})
}

// TestRequestThatCannotBeMade concerns nobody else.
func TestRequestThatCannotBeMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer, _ := newAccountScene(t)
		g := boundAlone(t, &issuer.ACME, Services{Storage: new(storage.Memory)})
		_, err := g.issue(t.Context(), Request{}, time.Time{}, func() {})
		if err == nil || errors.As(err, new(*UnavailableError)) || g.closed(time.Time{}) != nil {
			t.Errorf("%v, and the gate: %v", err, g.closed(time.Time{}))
		}
	})
}
