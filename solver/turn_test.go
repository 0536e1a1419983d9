package solver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/storage"
)

// orderProof returns a proof for a name that belongs to an order of an account at a CA.
func orderProof(name, ca, account, token string) acme.Proof {
	return acme.Proof{
		Challenge:        acme.Challenge{Type: acme.TypeTLSALPN01, Token: token},
		Identifier:       acme.Identifier{Type: acme.TypeDNS, Value: name},
		KeyAuthorization: token + "." + account,
		DirectoryURL:     "https://" + ca + "/directory",
	}
}

// storedAnswer returns the key authorization that is stored for a name, or "".
func storedAnswer(t *testing.T, s storage.Store, name string) string {
	t.Helper()
	a, err := load(t.Context(), s, "challenges/tls-alpn-01/"+name)
	if err != nil {
		return ""
	}
	return a.KeyAuthorization
}

// The second of two CAs that validate a name waits until the first is done, in whatever process.
func TestPresentWaitsForAnotherOrder(t *testing.T) {
	first := orderProof("example.com", "ca1.example", "account1", "first")
	for name, second := range map[string]acme.Proof{
		"another CA":      orderProof("example.com", "ca2.example", "account2", "second"),
		"another account": orderProof("example.com", "ca1.example", "account2", "second"),
		"another order":   orderProof("example.com", "ca1.example", "account1", "second"),
	} {
		for _, members := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s, %d processes", name, members), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					store := new(storage.Memory)
					here := &TLSALPN01{Storage: store}
					there := here
					if members == 2 {
						there = &TLSALPN01{Storage: store}
					}
					if err := here.Present(t.Context(), first); err != nil {
						t.Fatal(err)
					}
					presented := make(chan error, 1)
					go func() { presented <- there.Present(t.Context(), second) }()
					_ = pause(t.Context(), time.Minute)
					if got := storedAnswer(t, store, "example.com"); got != first.KeyAuthorization || len(presented) > 0 {
						t.Fatalf("while the first is validated, %q is stored", got)
					}
					if err := here.CleanUp(t.Context(), first); err != nil {
						t.Fatal(err)
					}
					done := time.Now()
					if err := <-presented; err != nil || storedAnswer(t, store, "example.com") != second.KeyAuthorization {
						t.Errorf("the second: %v, with %q stored", err, storedAnswer(t, store, "example.com"))
					}
					if waited := time.Since(done); waited > 2*maxTurnInterval {
						t.Errorf("it was presented %v after the first was cleaned up", waited)
					}
				})
			})
		}
	}
}

func TestPresentWaitsWithinItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(TLSALPN01)
		first := orderProof("example.com", "ca1.example", "account1", "first")
		if err := s.Present(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun := time.Now()
		err := s.Present(ctx, orderProof("example.com", "ca2.example", "account2", "second"))
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != time.Second {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
		for _, want := range []string{"example.com", "https://ca1.example/directory", "https://ca2.example/directory"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%v does not say %q", err, want)
			}
		}
		if got := storedAnswer(t, &s.memory, "example.com"); got != first.KeyAuthorization {
			t.Errorf("%q is stored", got)
		}
	})
}

// An answer whose process was killed is not in the way for ever. A process that goes on with the order
// presents it again, which is no wait, and begins the term anew.
func TestPresentAfterCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(storage.Memory)
		left := orderProof("example.com", "ca2.example", "account", "left")
		if err := (&TLSALPN01{Storage: store}).Present(t.Context(), left); err != nil {
			t.Fatal(err)
		}
		for _, test := range []struct {
			ca, account string
			least, most time.Duration
		}{
			{"ca1.example", "account", answerTerm, answerTerm},
			{"ca2.example", "another", answerTerm, 2 * answerTerm},
			{"ca2.example", "another", answerTerm, 2 * answerTerm},
			{"ca3.example", "account", 2 * answerTerm, 2 * answerTerm},
		} {
			_ = pause(t.Context(), time.Hour) // what a clock shows counts for nothing
			begun := time.Now()
			next := orderProof("example.com", test.ca, test.account, fmt.Sprint("token", begun.Unix()))
			if err := (&TLSALPN01{Storage: store}).Present(t.Context(), next); err != nil {
				t.Fatal(err)
			}
			if waited := time.Since(begun); waited < test.least || waited > test.most+maxTurnInterval {
				t.Errorf("%s waited for %v, want %v to %v", test.ca, waited, test.least, test.most)
			}
			if err := (&TLSALPN01{Storage: store}).Present(t.Context(), next); err != nil || time.Since(begun) > test.most+maxTurnInterval {
				t.Errorf("%s, presented again: %v, after %v", test.ca, err, time.Since(begun))
			}
		}
	})
}

// Whoever presents his answer again and again is alive.
func TestPresentAgainKeepsThePlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(storage.Memory)
		slow := orderProof("example.com", "ca2.example", "account2", "slow")
		ctx, cancel := context.WithCancel(t.Context())
		waiting := make(chan error, 1)
		holder := &TLSALPN01{Storage: store}
		if err := holder.Present(t.Context(), slow); err != nil {
			t.Fatal(err)
		}
		go func() {
			waiting <- (&TLSALPN01{Storage: store}).Present(ctx, orderProof("example.com", "ca1.example", "account1", "waits"))
		}()
		for range 10 {
			_ = pause(t.Context(), answerTerm*3/4)
			if err := holder.Wait(t.Context(), slow); err != nil || storedAnswer(t, store, "example.com") != slow.KeyAuthorization {
				t.Fatalf("Wait: %v, with %q stored", err, storedAnswer(t, store, "example.com"))
			}
		}
		cancel()
		if err := <-waiting; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// Of many that wait for one place, each has it for itself.
func TestManyWaitForOnePlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(storage.Memory)
		var orders sync.WaitGroup
		holders := 0
		for i := range 10 {
			orders.Go(func() {
				s := &TLSALPN01{Storage: store}
				p := orderProof("example.com", fmt.Sprint("ca", i), "account", fmt.Sprint("token", i))
				if err := s.Present(t.Context(), p); err != nil {
					t.Error(err)
				}
				if holders++; holders > 1 {
					t.Errorf("%d orders have the place", holders)
				}
				_ = pause(t.Context(), 10*time.Second)
				if got := storedAnswer(t, store, "example.com"); got != p.KeyAuthorization {
					t.Errorf("%q is stored while %q is validated", got, p.KeyAuthorization)
				}
				holders--
				if err := s.CleanUp(t.Context(), p); err != nil {
					t.Error(err)
				}
			})
		}
		orders.Wait()
	})
}

// Two orders hold a name each that the other one waits for. Both end, and each CA finds its answers.
func TestOrdersThatWaitForEachOther(t *testing.T) {
	const names = 5
	for _, members := range []int{1, 2} {
		synctest.Test(t, func(t *testing.T) {
			store := new(storage.Memory)
			solvers := []*TLSALPN01{{Storage: store}, {Storage: store}}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			var orders sync.WaitGroup
			for i := range 2 {
				s := solvers[i%members]
				orders.Go(func() {
					proofs := make([]acme.Proof, names)
					stage := func(f func(context.Context, acme.Proof) error) {
						var all sync.WaitGroup
						for _, p := range proofs {
							all.Go(func() {
								if err := f(ctx, p); err != nil {
									t.Errorf("%s: %v", p.KeyAuthorization, err)
								}
							})
						}
						all.Wait()
					}
					for j := range proofs {
						proofs[j] = orderProof(fmt.Sprintf("name%d.example", j), fmt.Sprint("ca", i), "account", fmt.Sprintf("token%d-%d", i, j))
					}
					// Each has one name before the other one comes.
					if err := s.Present(ctx, proofs[i]); err != nil {
						t.Error(err)
					}
					_ = pause(ctx, time.Second)
					stage(s.Present)
					stage(s.Wait)
					_ = pause(ctx, 20*time.Second)
					for j, p := range proofs {
						if got := storedAnswer(t, store, fmt.Sprintf("name%d.example", j)); got != p.KeyAuthorization {
							t.Errorf("order %d: %q is stored when the CA looks for %q", i, got, p.KeyAuthorization)
						}
					}
					stage(s.CleanUp)
				})
			}
			orders.Wait()
		})
	}
}

// What was presented lately is not looked for: Wait costs nothing where nobody had to wait.
func TestWaitCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(sharedStore)
		s := &TLSALPN01{Storage: store}
		p := orderProof("example.com", "ca.example", "account", "token")
		if err := s.Present(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		store.loads.Store(0)
		_ = pause(t.Context(), answerTerm/2-1)
		if err := s.Wait(t.Context(), p); err != nil || store.loads.Load() != 0 {
			t.Errorf("%v, after %d loads", err, store.loads.Load())
		}
		p.Type = acme.TypeHTTP01
		if err := s.Wait(t.Context(), p); err == nil {
			t.Error("Wait took a proof of another type")
		}
	})
}

func TestPresentReplacesUnreadableRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, value := range []string{"", "not JSON", `{"token":"abc"}`} {
			store := new(storage.Memory)
			if _, err := store.Save(t.Context(), "challenges/tls-alpn-01/example.com", []byte(value), ""); err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			p := orderProof("example.com", "ca.example", "account", "token")
			if err := (&TLSALPN01{Storage: store}).Present(t.Context(), p); err != nil || time.Since(begun) != 0 {
				t.Errorf("%q: %v after %v", value, err, time.Since(begun))
			}
			if got := storedAnswer(t, store, "example.com"); got != p.KeyAuthorization {
				t.Errorf("%q: stored is %q", value, got)
			}
		}
	})
}
