package certmanager_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager"
)

// waitingForBudget returns the names that wait for a budget, and when each is due, the first first.
func waitingForBudget(t *testing.T, m *certmanager.Manager) (names []string, due []time.Time) {
	t.Helper()
	var all []certmanager.Status
	for _, s := range statuses(m) {
		if s.Reason == certmanager.ReasonBudget {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b certmanager.Status) int { return a.Next.Compare(b.Next) })
	for _, s := range all {
		names, due = append(names, s.Names[0]), append(due, s.Next)
	}
	return names, due
}

// inLine starts a manager of 40 names, 31 of which wait for one of the tokens that come back each hour. One token is left to
// what is more urgent.
func (w *world) inLine() (m *certmanager.Manager, stop func()) {
	w.t.Helper()
	config := w.config(manyNames("site%d.example.com", 40)...)
	config.OnEvent, config.SweepInterval = nil, -1
	acmeOf(config).Limits.CertificatesPerDomain = certmanager.Limit{Count: 10, Per: 10 * time.Hour}
	m, stop = w.start(config)
	awaitValid(w.t, m, 9)
	time.Sleep(time.Minute)
	synctest.Wait()
	if names, _ := waitingForBudget(w.t, m); len(names) != 31 {
		w.t.Fatalf("%d names wait", len(names))
	}
	return m, stop
}

// When names that wait for a budget are forgotten, or another manager obtains their certificates elsewhere, as many others move
// up: the rest waits no longer than its number asks for, and nobody longer than was told.
func TestLineMovesUp(t *testing.T) {
	for name, leave := range map[string]func(*world, *certmanager.Manager, []string){
		"forgotten": func(w *world, m *certmanager.Manager, names []string) {
			if err := m.Forget(names...); err != nil {
				w.t.Fatal(err)
			}
		},
		"obtained elsewhere": func(w *world, m *certmanager.Manager, names []string) {
			other := w.config(names...)
			other.OnEvent, acmeOf(other).Limits.CertificatesPerDomain.Count = nil, -1
			o, stop := w.start(other)
			defer stop()
			awaitValid(w.t, o, len(names))
			synctest.Wait()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				m, stop := w.inLine()
				defer stop()
				names, due := waitingForBudget(t, m)
				leave(w, m, names[:20])
				synctest.Wait()
				rest, moved := waitingForBudget(t, m)
				if len(rest) != 11 || !slices.Equal(moved, due[:11]) {
					t.Errorf("%d wait until %v, want %v", len(rest), moved, due[:11])
				}
				time.Sleep(13 * time.Hour)
				synctest.Wait()
				if late, _ := waitingForBudget(t, m); len(late) != 0 {
					t.Errorf("%v still wait", late)
				}
			})
		})
	}
}

// A place that a caller of Renew has left in vain is filled. One whose certificate has come leaves a gap, for its token is taken.
func TestRenewLeavesTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m, stop := w.inLine()
		defer stop()
		names, due := waitingForBudget(t, m)
		if err := m.Renew(t.Context(), names[5]); err != nil {
			t.Fatal(err)
		}
		if err := m.Renew(t.Context(), names[6]); err == nil {
			t.Fatal("there was a token for another one")
		}
		synctest.Wait()
		_, after := waitingForBudget(t, m)
		if len(after) != 30 || slices.ContainsFunc(after, due[5].Equal) || !slices.ContainsFunc(after, due[6].Equal) || slices.ContainsFunc(after, due[30].Equal) {
			t.Errorf("%d wait until %v, want nobody at %v and %v, and one at %v", len(after), after, due[5], due[30], due[6])
		}
	})
}
