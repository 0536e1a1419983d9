package certmanager_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

// A backoff is a member whose attempt has failed, and what has made it fail.
type backoff struct {
	world *world
	ca    *localCA
	store *storagetest.Faulty
	*certmanager.Manager
}

// TestBackoffHoldsNoLease is defect 5 of a peer: there the storage's lock is held between the attempts. Here nobody has the lease
// during a back-off, for a first certificate and for a renewal: whoever is told to obtain one does so at once, be it the same
// member or another, and the first one's next attempt is spared.
func TestBackoffHoldsNoLease(t *testing.T) {
	for name, fail := range map[string]func(backoff){
		"refused":         func(b backoff) { b.ca.change((*localCA).refusing) },
		"another failure": func(b backoff) { b.fails(errors.New("out of paper")) },
		"rate-limited": func(b backoff) {
			b.fails(&acme.Problem{Status: http.StatusTooManyRequests, Type: acme.ErrRateLimited, RetryAfter: 3 * time.Hour})
		},
		"unavailable": func(b backoff) { b.fails(&certmanager.UnavailableError{Err: errClosed}) },
		"not stored": func(b backoff) {
			b.store.SetFaults(storagetest.Fault{On: storagetest.Save, Prefix: "certificates"})
		},
	} {
		for _, renewal := range []bool{false, true} {
			for _, other := range []bool{false, true} {
				if name == "unavailable" && !other {
					continue // the issuer is in back-off as a whole, for this member
				}
				t.Run(fmt.Sprintf("%s, a renewal %t, by another %t", name, renewal, other), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						b, stop := newBackoff(t, fail, renewal)
						defer stop()
						b.checkLeaseIsFree(t)
						obtainer := b.Manager
						if other {
							sound := b.world.fromLocalCA(newLocalCA(t, "local"), "example.com")
							sound.OnEvent = nil
							var stopOther func()
							obtainer, stopOther = b.world.running(sound)
							defer stopOther()
						} else {
							b.fails(nil)
						}
						b.store.SetFaults()
						began := time.Now()
						if err := obtainer.Renew(t.Context(), "example.com"); err != nil || time.Since(began) > 0 {
							t.Errorf("it is obtained after %v: %v", time.Since(began), err)
						}
						after(day)
						if s := statusOf(t, b.Manager, "example.com"); s.State != certmanager.StateValid || s.Failure != nil || s.NotBefore.Before(began.Truncate(time.Second)) || s.Action != certmanager.ActionRenew {
							t.Errorf("a day later: %+v", s)
						}
						if n := b.world.count(certmanager.EventFailed); n != 1 {
							t.Errorf("%d attempts have failed, want the first one alone", n)
						}
					})
				})
			}
		}
	}
}

// newBackoff returns one whose first attempt has failed, or that to renew its certificate.
func newBackoff(t *testing.T, fail func(backoff), renewal bool) (b backoff, stop func()) {
	t.Helper()
	w := newWorld(t)
	b = backoff{world: w, ca: newLocalCA(t, "local"), store: &storagetest.Faulty{Store: w.store}}
	config := w.fromLocalCA(b.ca, "example.com")
	config.Storage = b.store
	if !renewal {
		fail(b)
	}
	b.Manager, stop = w.running(config)
	if renewal {
		fail(b)
	}
	w.await(certmanager.EventFailed, "example.com", 1)
	synctest.Wait()
	return b, stop
}

// fails has the CA fail with an error; nil: no more.
func (b backoff) fails(err error) { b.ca.change(func(ca *localCA) { ca.err = err }) }

// checkLeaseIsFree checks that the next attempt waits, and that nobody has the lease of the work.
func (b backoff) checkLeaseIsFree(t *testing.T) {
	t.Helper()
	if s := statusOf(t, b.Manager, "example.com"); s.Action != certmanager.ActionRetry || !s.Next.After(time.Now()) {
		t.Errorf("there is no back-off: %+v", s)
	}
	_, item := b.world.record("work")
	if _, held, err := storage.LeaseValue(item.Value); held || err != nil {
		t.Errorf("somebody has the lease: %t, %v", held, err)
	}
}
