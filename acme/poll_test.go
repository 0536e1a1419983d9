package acme_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
)

// TestIssuePolls has a CA that asks to be polled every three seconds: the wait for the validation and the
// waits for a certificate that takes its time obey, and one poll comes soon after finalize.
func TestIssuePolls(t *testing.T) {
	for _, test := range []struct {
		about      string
		processing int // polls
		want       time.Duration
	}{
		{"issued at once", 0, 3 * time.Second},
		{"issued later", 2, 9 * time.Second},
	} {
		t.Run(test.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newUnregisteredCA(t, func(s *acmetest.Server) { s.RetryAfter = 3 * time.Second })
				if _, err := c.client.Register(t.Context(), acme.Registration{AgreeToTerms: true}); err != nil {
					t.Fatal(err)
				}
				c.SetFaults(c.Processing(test.processing))
				began := time.Now()
				if _, err := c.issue(t, t.Context(), acme.Request{}); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began) - test.want; took < 90*time.Millisecond || took > 110*time.Millisecond {
					t.Errorf("took %v more than %v, want a tenth of a second", took, test.want)
				}
			})
		})
	}
}

// A wait that the CA did not ask for is not said to be its wish.
func TestDeadlineBeforeTheNextPoll(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		order, err := c.client.NewOrder(t.Context(), acme.OrderRequest{Identifiers: identifiers(t, "example.com")})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err = c.client.WaitAuthorization(ctx, order.Authorizations[0])
		wantError(t, err, context.DeadlineExceeded)
		if _, asked := errors.AsType[*acme.RetryAfterError](err); asked {
			t.Error(err)
		}
	})
}

// An order that a CA wants to be asked for in a week is asked for in an hour.
func TestPollIntervalIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		c.SetFaults(c.Processing(1_000_000), acmetest.On("order", acmetest.WithHeader("Retry-After", "604800")))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := c.issue(t, ctx, acme.Request{})
		later, ok := errors.AsType[*acme.RetryAfterError](err)
		if !ok || later.RetryAfter != time.Hour {
			t.Errorf("error %v, want a RetryAfterError of an hour", err)
		}
	})
}

// An authorization that is in no state of the RFC's is not taken for one that needs nothing.
func TestUnknownStatusOfAnAuthorization(t *testing.T) {
	for _, status := range []any{"approved", "", nil} {
		inBubble(t, func(t *testing.T, c *ca) {
			c.SetFaults(acmetest.On("authorization", editJSON(func(a map[string]any) { a["status"] = status })))
			_, err := c.issue(t, t.Context(), acme.Request{})
			wantError(t, err, nil, "unknown status")
			if len(c.Orders()) != 1 || errors.As(err, new(*acme.OrderError)) {
				t.Errorf("%d orders, error %v", len(c.Orders()), err)
			}
		})
	}
}
