package solver

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/solver/internal/challenge"
	"github.com/everseal/everseal/storage"
)

// A sharedStore is a store as a fleet has it: a load takes its time. It counts them.
type sharedStore struct {
	storage.Memory
	latency time.Duration

	loads  atomic.Int64
	active atomic.Int64 // loads under way
	most   atomic.Int64 // of those, the most at once
	hangs  atomic.Bool
	panics atomic.Bool
}

func (s *sharedStore) Load(ctx context.Context, key string) (storage.Item, error) {
	s.loads.Add(1)
	active := s.active.Add(1)
	defer s.active.Add(-1)
	for most := s.most.Load(); active > most && !s.most.CompareAndSwap(most, active); {
		most = s.most.Load()
	}
	if s.panics.Load() {
		panic("the store panics")
	}
	if s.hangs.Load() {
		<-ctx.Done()
		return storage.Item{}, ctx.Err()
	}
	item, err := s.Memory.Load(ctx, key)
	if err := pause(ctx, s.latency); err != nil {
		return storage.Item{}, err
	}
	return item, err
}

// presentElsewhere lets another member of the fleet present the answer to the token.
func presentElsewhere(t *testing.T, s *sharedStore, token string) {
	t.Helper()
	if err := (&HTTP01{Storage: &s.Memory}).Present(t.Context(), newHTTP01Proof(token)); err != nil {
		t.Fatal(err)
	}
}

// request asks for a token, and returns the status and the body.
func request(ctx context.Context, handler http.Handler, token string) (int, string) {
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequestWithContext(ctx, http.MethodGet, challenge.HTTP01Path+token, nil))
	return recorder.Code, recorder.Body.String()
}

// A scan asks for made-up tokens and counts how it is answered.
type scan struct {
	wait     sync.WaitGroup
	asked    int
	statuses [600]atomic.Int64
	longest  atomic.Int64 // time.Duration to an answer
}

// run makes so many requests a second, without waiting for their answers, until the time is over.
func (s *scan) run(ctx context.Context, handler http.Handler, perSecond int, d time.Duration) {
	const step = 10 * time.Millisecond
	for range d / step {
		for range perSecond / int(time.Second/step) {
			s.asked++
			token := fmt.Sprint("scan", s.asked)
			s.wait.Go(func() {
				begun := time.Now()
				status, _ := request(ctx, handler, token)
				s.statuses[status].Add(1)
				for took, longest := int64(time.Since(begun)), s.longest.Load(); took > longest && !s.longest.CompareAndSwap(longest, took); {
					longest = s.longest.Load()
				}
			})
		}
		_ = pause(ctx, step)
	}
}

// allowed is how many loads that find nothing a gate lets through in a time.
func allowed(d time.Duration) int64 { return missBurst + int64(d/missInterval) }

func TestScanIsBounded(t *testing.T) {
	for _, perSecond := range []int{100, 1000, 5000} {
		t.Run(fmt.Sprint(perSecond), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &sharedStore{latency: 20 * time.Millisecond}
				h := &HTTP01{Storage: store}
				handler := h.Handler(nil)
				var s scan
				begun := time.Now()
				s.run(t.Context(), handler, perSecond, 4*time.Second)
				h.gate.mu.Lock()
				if n := len(h.gate.inquiries); n > maxWaiting+2*missBurst || h.gate.waiting.length > maxWaiting {
					t.Errorf("%d tokens are remembered, %d of them waiting", n, h.gate.waiting.length)
				}
				h.gate.mu.Unlock()
				s.wait.Wait()
				loads := store.loads.Load()
				if most := allowed(time.Since(begun)); loads > most || loads < most*9/10 {
					t.Errorf("storage was asked %d times, want nearly the %d that are allowed", loads, most)
				}
				if most := store.most.Load(); most > maxLoads {
					t.Errorf("storage was asked %d times at once", most)
				}
				// Nobody is told that a challenge is unknown unless it was looked up.
				unknown, busy := s.statuses[http.StatusNotFound].Load(), s.statuses[http.StatusServiceUnavailable].Load()
				if unknown != loads || unknown+busy != int64(s.asked) {
					t.Errorf("of %d, %d were told 404 after %d loads, and %d were told 503", s.asked, unknown, loads, busy)
				}
				if longest := time.Duration(s.longest.Load()); longest > waitTimeout+store.latency {
					t.Errorf("one waited for %v", longest)
				}
				requireForgotten(t, &h.gate)
			})
		})
	}
}

// requireForgotten fails the test unless the gate is as new once its memory has run out.
func requireForgotten(t *testing.T, g *gate) {
	t.Helper()
	_ = pause(t.Context(), rememberPeriod+time.Second)
	synctest.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.inquiries) != 0 || g.waiting.length != 0 || g.loads != 0 || g.wake != nil {
		t.Errorf("still there: %d inquiries, %d waiting, %d loading", len(g.inquiries), g.waiting.length, g.loads)
	}
}

// A CA asks from several places, not quite at once. During a scan all of them are answered; so is, a while
// after the first, any single question for the same token.
func TestAnswerIsFoundDuringScan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &sharedStore{latency: 5 * time.Millisecond}
		handler := (&HTTP01{Storage: store}).Handler(nil)
		var s scan
		var validations sync.WaitGroup
		validations.Go(func() { s.run(t.Context(), handler, 5000, 5*time.Second) })
		for i := range 20 {
			token := fmt.Sprint("pending", i)
			presentElsewhere(t, store, token)
			for _, delay := range []time.Duration{0, 50, 120, 200, 300, 400, 900} {
				validations.Go(func() {
					_ = pause(t.Context(), time.Second+time.Duration(i)*100*time.Millisecond+delay*time.Millisecond)
					begun := time.Now()
					status, body := request(t.Context(), handler, token)
					if status != http.StatusOK || body != token+".thumbprint" {
						t.Errorf("%s, asked for %v after the first: %d %q after %v", token, delay*time.Millisecond, status, body, time.Since(begun))
					}
				})
			}
		}
		validations.Wait()
		s.wait.Wait()
		if s.statuses[http.StatusServiceUnavailable].Load() < int64(s.asked/2) {
			t.Errorf("of %d requests only %d were turned away: that was no scan", s.asked, s.statuses[http.StatusServiceUnavailable].Load())
		}
	})
}

// A scan that asks for each of its tokens many times does not come before a CA by that.
func TestRepeatedScanDoesNotComeFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &sharedStore{latency: 5 * time.Millisecond}
		handler := (&HTTP01{Storage: store}).Handler(nil)
		presentElsewhere(t, store, "pending")
		ctx, cancel := context.WithCancel(t.Context())
		var requests sync.WaitGroup
		for i := range 400 {
			requests.Go(func() {
				for ctx.Err() == nil {
					request(ctx, handler, fmt.Sprint("again", i/10))
				}
			})
		}
		_ = pause(t.Context(), 5*time.Second)
		var places sync.WaitGroup
		for range 2 {
			places.Go(func() {
				if status, _ := request(t.Context(), handler, "pending"); status != http.StatusOK {
					t.Errorf("the CA was told %d", status)
				}
			})
		}
		places.Wait()
		cancel()
		requests.Wait()
	})
}

// An answer that is presented right after a scanner asked for it is seen: what was not there then is
// not taken to be absent still.
func TestAnswerPresentedAfterScanner(t *testing.T) {
	for _, latency := range []time.Duration{0, time.Second} {
		for _, after := range []time.Duration{time.Millisecond, 300 * time.Millisecond, 999 * time.Millisecond} {
			synctest.Test(t, func(t *testing.T) {
				store := &sharedStore{latency: latency}
				handler := (&HTTP01{Storage: store}).Handler(nil)
				var scanner sync.WaitGroup
				scanner.Go(func() {
					if status, _ := request(t.Context(), handler, "token"); status != http.StatusNotFound {
						t.Errorf("the scanner was told %d", status)
					}
				})
				_ = pause(t.Context(), after)
				presentElsewhere(t, store, "token")
				begun := time.Now()
				if status, _ := request(t.Context(), handler, "token"); status != http.StatusOK {
					t.Errorf("storage of %v, %v after the scanner: the CA was told %d", latency, after, status)
				}
				if waited := time.Since(begun); waited > absentPeriod+2*latency {
					t.Errorf("storage of %v, %v after the scanner: the CA was told after %v", latency, after, waited)
				}
				scanner.Wait()
			})
		}
	}
}

func TestOneLoadForAllWhoAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &sharedStore{latency: 50 * time.Millisecond}
		h := &HTTP01{Storage: store}
		handler := h.Handler(nil)
		presentElsewhere(t, store, "pending")
		for token, want := range map[string]int{"pending": http.StatusOK, "unknown": http.StatusNotFound} {
			store.loads.Store(0)
			var asked sync.WaitGroup
			for range 1000 {
				asked.Go(func() {
					if status, _ := request(t.Context(), handler, token); status != want {
						t.Errorf("%s: %d", token, status)
					}
				})
			}
			asked.Wait()
			if n := store.loads.Load(); n != 2 { // for the first, and for all who came while that was under way
				t.Errorf("%s: %d loads for a thousand requests", token, n)
			}
		}
		requireForgotten(t, &h.gate)
	})
}

func TestRepeatedRequestsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(sharedStore)
		h := &HTTP01{Storage: store}
		handler := h.Handler(nil)
		presentElsewhere(t, store, "pending")
		for token, most := range map[string]int64{"unknown": int64(10*time.Second/absentPeriod) + 2, "pending": int64(10*time.Second/foundPeriod) + 2} {
			store.loads.Store(0)
			var asked sync.WaitGroup
			for range 10_000 {
				asked.Go(func() {
					if status, _ := request(t.Context(), handler, token); status == http.StatusServiceUnavailable {
						t.Errorf("%s: %d", token, status)
					}
				})
				_ = pause(t.Context(), time.Millisecond)
			}
			asked.Wait()
			if n := store.loads.Load(); n > most || n < most-3 {
				t.Errorf("%s: storage was asked %d times in ten seconds, want %d", token, n, most)
			}
		}
		requireForgotten(t, &h.gate)
	})
}

// Many challenges at once are no scan: what is found costs no allowance.
func TestManyPendingAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &sharedStore{latency: 2 * time.Millisecond}
		handler := (&HTTP01{Storage: store}).Handler(nil)
		var asked sync.WaitGroup
		for i := range 2000 {
			token := fmt.Sprint("pending", i)
			presentElsewhere(t, store, token)
			asked.Go(func() {
				if status, _ := request(t.Context(), handler, token); status != http.StatusOK {
					t.Errorf("%s: %d", token, status)
				}
			})
		}
		asked.Wait()
	})
}

func TestStorageThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(sharedStore)
		h := &HTTP01{Storage: store}
		handler := h.Handler(nil)
		store.hangs.Store(true)
		presentElsewhere(t, store, "pending")
		var s scan
		s.run(t.Context(), handler, 1000, 10*time.Second)
		s.wait.Wait()
		if n := s.statuses[http.StatusServiceUnavailable].Load(); n != int64(s.asked) {
			t.Errorf("%d of %d were told 503", n, s.asked)
		}
		if longest := time.Duration(s.longest.Load()); longest > waitTimeout+loadTimeout {
			t.Errorf("one waited for %v", longest)
		}
		if most := store.most.Load(); most > maxLoads {
			t.Errorf("storage was asked %d times at once", most)
		}
		store.hangs.Store(false)
		if status, _ := request(t.Context(), handler, "pending"); status != http.StatusOK {
			t.Errorf("the storage is back: %d", status)
		}
		requireForgotten(t, &h.gate)
	})
}

// Who loads for others does so to the end, also when he is gone; who waits goes at once.
func TestAskersLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &sharedStore{latency: time.Second}
		h := &HTTP01{Storage: store}
		handler := h.Handler(nil)
		presentElsewhere(t, store, "pending")
		loading, cancelLoading := context.WithCancel(t.Context())
		waiting, cancelWaiting := context.WithCancel(t.Context())
		var asked sync.WaitGroup
		ask := func(ctx context.Context, want int, after time.Duration) {
			asked.Go(func() {
				begun := time.Now()
				if status, _ := request(ctx, handler, "pending"); status != want || time.Since(begun) != after {
					t.Errorf("%d after %v, want %d after %v", status, time.Since(begun), want, after)
				}
			})
			synctest.Wait()
		}
		ask(loading, http.StatusOK, time.Second)
		ask(waiting, http.StatusServiceUnavailable, 0)
		cancelLoading()
		cancelWaiting()
		synctest.Wait()
		ask(t.Context(), http.StatusOK, 2*time.Second+foundPeriod)
		asked.Wait()
		if n := store.loads.Load(); n != 2 {
			t.Errorf("%d loads, want one for the first and one for the last", n)
		}
		requireForgotten(t, &h.gate)
	})
}

// One whose turn comes at the very moment at which he leaves takes nothing with him.
func TestTurnOfOneWhoLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(gate)
		for range 2 * missBurst {
			_, l := g.enter("key", 0)
			if len(l.turn) != 1 {
				t.Fatal("the first who asks has not his turn at once")
			}
			_, next := g.enter("key", 0)
			if next == l {
				t.Fatal("the second one joined a load under way")
			}
			g.leave(l)
			if len(next.turn) != 1 {
				t.Fatal("the next one has not his turn after the first has left")
			}
			g.leave(next)
		}
		requireForgotten(t, g)
	})
}

func TestStoreThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(sharedStore)
		h := &HTTP01{Storage: store}
		store.panics.Store(true)
		for i := range 2 * maxLoads {
			func() {
				defer func() { _ = recover() }() // as net/http does
				request(t.Context(), h.Handler(nil), fmt.Sprint("token", i))
				t.Error("the panic was swallowed")
			}()
		}
		requireForgotten(t, &h.gate)
	})
}

func TestOwnAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(sharedStore)
		h := &HTTP01{Storage: store}
		handler := h.Handler(nil)
		p := newHTTP01Proof("own")
		ask := func(want int, loads int64) {
			t.Helper()
			store.loads.Store(0)
			if status, _ := request(t.Context(), handler, "own"); status != want || store.loads.Load() != loads {
				t.Errorf("%d after %d loads, want %d after %d", status, store.loads.Load(), want, loads)
			}
		}
		if err := h.Present(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		store.hangs.Store(true)
		ask(http.StatusOK, 0)
		_ = pause(t.Context(), answerTerm-1)
		ask(http.StatusOK, 0)
		// From here on others may have changed it, who must not be contradicted.
		_ = pause(t.Context(), 1)
		store.hangs.Store(false)
		ask(http.StatusOK, 1)
		_ = pause(t.Context(), rememberPeriod)
		other := p
		other.KeyAuthorization = p.Token + ".other"
		if err := h.Present(t.Context(), other); err != nil {
			t.Fatal(err)
		}
		if err := h.CleanUp(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		ask(http.StatusOK, 0)
		if err := h.CleanUp(t.Context(), other); err != nil {
			t.Fatal(err)
		}
		ask(http.StatusNotFound, 1)
	})
}

// An answer that is never cleaned up is not remembered for ever.
func TestOwnAnswersAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var own ownAnswers
		for i := range 10_000 {
			own.add(fmt.Sprint(i), ownAnswer{answer: answer{KeyAuthorization: "x"}, since: time.Now()})
			_ = pause(t.Context(), time.Second)
		}
		if n := len(own.answers); n > 500 {
			t.Errorf("%d answers are remembered, of which %d can be used", n, answerTerm/time.Second)
		}
	})
}

// In memory of its own a process has no storage to spare.
func TestNoGateWithoutStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := new(HTTP01)
		if err := h.Present(t.Context(), newHTTP01Proof("own")); err != nil {
			t.Fatal(err)
		}
		_ = pause(t.Context(), 2*answerTerm)
		begun := time.Now()
		for i := range 1000 {
			if status, _ := request(t.Context(), h.Handler(nil), fmt.Sprint("scan", i)); status != http.StatusNotFound {
				t.Fatalf("request %d was told %d", i, status)
			}
		}
		if status, _ := request(t.Context(), h.Handler(nil), "own"); status != http.StatusOK || time.Since(begun) != 0 {
			t.Errorf("the answer: %d after %v", status, time.Since(begun))
		}
	})
}
