package acme_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
)

// waits reports whether the call polls: then it waits as long as the CA asks for and its context lets it.
func (c call) waits() bool {
	return c.resource == "order" && (c.name == "WaitOrder" || c.name == "Issue")
}

// A wait that the CA asks for and that is longer than a few seconds is the caller's: no call sleeps it out.
func TestLongWaitsAreTold(t *testing.T) {
	for _, call := range calls(t) {
		for _, status := range []int{429, 503} {
			t.Run(fmt.Sprint(call.name, " at ", call.resource, " ", status), func(t *testing.T) {
				inScene(t, call, func(t *testing.T, s *scene) {
					s.SetFaults(call.fault(func(http.Handler) http.Handler {
						return answer(status, problem("rateLimited", "later"), "Retry-After", "3600", "Replay-Nonce", "fresh")
					}))
					ctx, cancel := context.WithTimeout(t.Context(), 90*time.Minute)
					defer cancel()
					start := time.Now()
					err := call.do(ctx, s)
					if took := time.Since(start); took > 2*time.Second && !call.waits() {
						t.Errorf("it took %v", took)
					}
					var problem *acme.Problem
					var later *acme.RetryAfterError
					switch {
					case errors.As(err, &problem):
						if problem.RetryAfter != time.Hour || problem.Status != status {
							t.Errorf("problem %+v", problem)
						}
					case !call.waits() || !errors.As(err, &later) || later.RetryAfter != time.Hour:
						t.Errorf("error %v does not tell the hour", err)
					}
					if n := s.asked(call.resource); n > 1 && !call.waits() {
						t.Errorf("asked %d times", n)
					}
				})
			})
		}
	}
}

// asked returns how often the client asked for the resource.
func (c *ca) asked(resource string) int { return len(c.requests(resource)) }

// A wait that ends after the context's deadline is not begun: the error comes at once and has the CA's words.
func TestWaitsBeyondTheDeadlineAreNotBegun(t *testing.T) {
	for _, call := range calls(t) {
		t.Run(fmt.Sprint(call.name, " at ", call.resource), func(t *testing.T) {
			inScene(t, call, func(t *testing.T, s *scene) {
				s.SetFaults(call.fault(s.RateLimited("9")))
				ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
				defer cancel()
				start := time.Now()
				err := call.do(ctx, s)
				if took := time.Since(start); took > 2*time.Second || err == nil {
					t.Errorf("error %v after %v", err, took)
				}
				if ctx.Err() != nil {
					t.Errorf("the deadline passed before the error came: %v", err)
				}
			})
		})
	}
}

// The order is polled by what the CA asks for, if that is a wait, and never in a hot loop.
func TestPollsAreNoHotLoop(t *testing.T) {
	const watched = 10 * time.Minute
	for _, test := range []struct {
		retryAfter  string
		least, most int // polls in ten minutes
	}{
		{"", 110, 140}, {"0", 110, 140}, {"-5", 110, 140}, {"soon", 110, 140},
		{"Thu, 01 Jan 1970 00:00:00 GMT", 110, 140}, {"Fri, 31 Dec 1999 23:59:59 GMT", 110, 140},
		{"1", 598, 601}, {"60", 9, 11}, {"540", 2, 2}, {"86400", 1, 1},
	} {
		t.Run(test.retryAfter, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *ca) {
				c.SetFaults(c.Processing(1_000_000), acmetest.On("order", acmetest.WithHeader("Retry-After", test.retryAfter)))
				ctx, cancel := context.WithTimeout(t.Context(), watched)
				defer cancel()
				_, err := c.issue(t, ctx, acme.Request{})
				wantError(t, err, context.DeadlineExceeded, "processing")
				// The first of them found the order ready.
				if n := c.asked("order") - 1; n < test.least || n > test.most {
					t.Errorf("%d polls in %v, want %d to %d", n, watched, test.least, test.most)
				}
			})
		})
	}
}

// A CA that is slow with its directory delays nobody beyond his own deadline, and one client's CA not another's.
func TestSlowDirectoryDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow, quick := newUnregisteredCA(t, func(*acmetest.Server) {}), newCA(t)
		slow.SetFaults(acmetest.On("directory", acmetest.Delay(time.Hour)))
		patient := make(chan error)
		go func() {
			_, err := slow.client.GetDirectory(t.Context())
			patient <- err
		}()
		synctest.Wait()
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := slow.client.GetDirectory(ctx)
		wantError(t, err, context.DeadlineExceeded, "directory")
		if took := time.Since(start); took != time.Second {
			t.Errorf("another call returned after %v, want the second that it had", took)
		}
		if _, err := quick.issue(t, t.Context(), acme.Request{}); err != nil || time.Since(start) > 10*time.Second {
			t.Errorf("at another CA: %v after %v", err, time.Since(start))
		}
		if err := <-patient; err != nil || time.Since(start) < 59*time.Minute {
			t.Errorf("the first call: %v after %v", err, time.Since(start))
		}
		if n := slow.asked("directory"); n != 1 {
			t.Errorf("the directory was asked for %d times", n)
		}
	})
}

// Once the call that fetches the directory has failed, those that waited for it try themselves.
func TestDirectoryIsFetchedByWhoeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newUnregisteredCA(t, func(*acmetest.Server) {})
		c.SetFaults(acmetest.On("directory", acmetest.Next(1, acmetest.Delay(time.Hour))))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		impatient := make(chan error)
		go func() {
			_, err := c.client.GetDirectory(ctx)
			impatient <- err
		}()
		synctest.Wait()
		start := time.Now()
		if _, err := c.client.GetDirectory(t.Context()); err != nil || time.Since(start) != time.Minute {
			t.Errorf("%v after %v, want none after the minute of the first call", err, time.Since(start))
		}
		wantError(t, <-impatient, context.DeadlineExceeded)
	})
}
