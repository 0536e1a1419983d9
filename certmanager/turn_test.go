package certmanager_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/storage"
)

// A placeHolder is another order, of another process, whose answers have the places of some names in a storage.
type placeHolder struct {
	t      *testing.T
	solver solver.TLSALPN01
	proofs []acme.Proof
}

// holdPlaces has an order at a CA, which a URL names, take the places.
func holdPlaces(t *testing.T, s storage.Store, directory string, names ...string) *placeHolder {
	t.Helper()
	h := &placeHolder{t: t}
	h.solver.Storage = s
	for _, name := range names {
		h.proofs = append(h.proofs, acme.Proof{
			Challenge: acme.Challenge{Type: acme.TypeTLSALPN01, Token: "another"}, Identifier: acme.Identifier{Type: acme.TypeDNS, Value: name},
			KeyAuthorization: "another.key", DirectoryURL: directory,
		})
	}
	h.present()
	return h
}

func (h *placeHolder) present() {
	h.t.Helper()
	for _, p := range h.proofs {
		if err := h.solver.Present(h.t.Context(), p); err != nil {
			h.t.Fatal(err)
		}
	}
}

// live has the order keep the places for a while, as one that is at work.
func (h *placeHolder) live(d time.Duration) {
	h.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(min(20*time.Second, time.Until(end))) {
		h.present()
	}
}

// leave has the order give the places back.
func (h *placeHolder) leave() {
	h.t.Helper()
	for _, p := range h.proofs {
		if err := h.solver.CleanUp(h.t.Context(), p); err != nil {
			h.t.Fatal(err)
		}
	}
}

// overTLS returns a configuration by which control is proved by tls-alpn-01.
func (w *world) overTLS(names ...string) certmanager.Config {
	config := w.config(names...)
	config.Solvers, config.Preflight = []acme.Solver{new(solver.TLSALPN01)}, certmanager.PreflightOff
	return config
}

// longestPoll is after which it is seen that a place is free.
const longestPoll = 2500 * time.Millisecond

// The orders of another process have the places of the answers for 64 names, and keep them. Another name does not wait for
// them, nothing counts as failed, and the CA is not bothered. When the places are free, the orders are resumed at once.
func TestPlacesTakenByOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const names = 64
		w := newWorld(t)
		taken := manyNames("taken%d.example", names)
		other := holdPlaces(t, w.store, "https://another.example/directory", taken...)
		config := w.overTLS(taken...)
		config.Workers = 1
		m, stop := w.start(config)
		defer stop()
		for i := range 5 {
			other.live(time.Minute)
			begun := time.Now()
			if err := m.Manage(certmanager.Subject{Names: []string{fmt.Sprintf("free%d.example", i)}}); err != nil {
				t.Fatal(err)
			}
			if awaitValid(t, m, i+1); time.Since(begun) > time.Second {
				t.Errorf("a name whose place is free has its certificate after %v", time.Since(begun))
			}
		}
		if stats := m.Stats(); stats.Deferred[certmanager.ReasonProcess] != names || w.count(certmanager.EventFailed) != 0 {
			t.Errorf("deferred are %v, and %d attempts failed", stats.Deferred, w.count(certmanager.EventFailed))
		}
		before := w.ca.Requests()
		other.live(2 * time.Minute)
		if after := w.ca.Requests(); fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("the CA was asked %v, and %v before: while names wait", after, before)
		}
		other.leave()
		if took := awaitValid(t, m, names+5); took > longestPoll+names*time.Second/4 { // one worker, one after the other
			t.Errorf("all have their certificates %v after the places are free", took)
		}
		if n := w.newOrders(); n != names+5 {
			t.Errorf("%d orders, want %d", n, names+5)
		}
	})
}

// Whoever waits for a certificate, waits for the turn of its answer, and has it soon after that is free.
func TestTurnIsTakenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		other := holdPlaces(t, w.store, "https://another.example/directory", "example.com")
		m, stop := w.start(w.overTLS("example.com"))
		defer stop()
		other.live(8 * time.Minute)
		if s, _ := m.Status("example.com"); s.Failure != nil || s.Reason != certmanager.ReasonProcess || !strings.Contains(s.Deferred, "https://another.example/directory") {
			t.Errorf("failure %v, deferred for %q: %s", s.Failure, s.Reason, s.Deferred)
		}
		settled := make(chan error, 1)
		go func() { settled <- m.Settle(t.Context()) }()
		time.Sleep(time.Second)
		if len(settled) > 0 {
			t.Fatalf("Settle does not wait for the turn: %v", <-settled)
		}
		other.leave()
		begun := time.Now()
		if err := <-settled; err != nil || time.Since(begun) > longestPoll+time.Second {
			t.Errorf("settled %v after the place is free: %v", time.Since(begun), err)
		}
		if n := w.newOrders(); n != 1 || valid(m) != 1 {
			t.Errorf("%d orders, %d certificates", n, valid(m))
		}
	})
}

// An answer that a dead process has left gives way after two minutes, or after four to those who come second.
func TestPlaceLeftByTheDead(t *testing.T) {
	for directory, want := range map[string]time.Duration{"https://~/": 2 * time.Minute, "https://!/": 4 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			holdPlaces(t, w.store, directory, "example.com")
			config := w.overTLS("example.com")
			config.Workers = 1
			m, stop := w.start(config)
			defer stop()
			if took := awaitValid(t, m, 1); took < want || took > want+2*time.Second {
				t.Errorf("the place of %s is taken over after %v, want %v", directory, took, want)
			}
			if n := w.count(certmanager.EventFailed); n != 0 || w.newOrders() != 1 {
				t.Errorf("%d attempts failed, with %d orders", n, w.newOrders())
			}
		})
	}
}

// An order of several names publishes no answer while it waits for the turn of another: it is in nobody's way.
func TestAnswersAreNotKeptWhileOneWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		other := holdPlaces(t, w.store, "https://another.example/directory", "b.example")
		config := w.overTLS()
		config.Subjects = []certmanager.Subject{{Names: []string{"a.example", "b.example", "c.example"}}}
		m, stop := w.start(config)
		defer stop()
		for range 6 {
			other.live(time.Minute)
			for _, name := range []string{"a.example", "c.example"} {
				if _, err := w.store.Load(t.Context(), "challenges/tls-alpn-01/"+name); err == nil {
					t.Errorf("the answer for %s is published", name)
				}
			}
		}
		other.leave()
		if took := awaitValid(t, m, 1); took > longestPoll+time.Second || w.newOrders() != 1 || w.count(certmanager.EventFailed) != 0 {
			t.Errorf("obtained after %v, with %d orders and %d failures", took, w.newOrders(), w.count(certmanager.EventFailed))
		}
	})
}

// Two managers want certificates of the same names from two CAs at once: each has its turn.
func TestTwoManagersWantTheSamePlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, second := newWorld(t), newWorld(t)
		second.store = w.store
		names := manyNames("site%d.example", 5)
		config, other := w.overTLS(), second.overTLS()
		config.Subjects, other.Subjects = []certmanager.Subject{{Names: names}}, []certmanager.Subject{{Names: names}}
		m, stop := w.start(config)
		defer stop()
		n, stopOther := second.start(other)
		defer stopOther()
		if took := awaitValid(t, m, 1) + awaitValid(t, n, 1); took > time.Minute {
			t.Errorf("both have their certificates after %v", took)
		}
		if failed := w.count(certmanager.EventFailed) + second.count(certmanager.EventFailed); failed != 0 {
			t.Errorf("%d attempts failed", failed)
		}
	})
}

// After ten minutes in vain the attempt has failed, and another solver proves control, if there is one.
func TestAnotherSolverAfterTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		other := holdPlaces(t, w.store, "https://another.example/directory", "example.com")
		config := w.overTLS("example.com")
		config.Solvers = append(config.Solvers, newDNS01(w.ca))
		m, stop := w.start(config)
		defer stop()
		other.live(10*time.Minute - 10*time.Second)
		if n := w.count(certmanager.EventFailed); n != 0 || valid(m) != 0 {
			t.Errorf("%d attempts failed, and %d certificates were obtained", n, valid(m))
		}
		other.live(2 * time.Minute)
		if n := w.count(certmanager.EventFailed); n != 1 || valid(m) != 1 || w.newOrders() != 1 {
			t.Errorf("%d attempts failed, %d certificates were obtained, with %d orders", n, valid(m), w.newOrders())
		}
		if s, _ := m.Status("example.com"); len(s.Challenges) != 1 || s.Challenges[0] != acme.TypeDNS01 {
			t.Errorf("control was proved by %v", s.Challenges)
		}
	})
}
