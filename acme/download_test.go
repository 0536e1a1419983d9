package acme_test

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
)

// dated has all answers come from a CA whose clock is off by that much; with nothing they have no date.
func dated(off *time.Duration) acmetest.Fault {
	return acmetest.Edit(func(r *acmetest.Response) {
		r.Header.Del("Date")
		if off != nil {
			r.Header.Set("Date", time.Now().Add(*off).UTC().Format(http.TimeFormat))
		}
	})
}

// A certificate that is over, or not begun, by this machine's clock may be so because that is wrong. The CA's
// clock tells, and no other certificate is ordered for it.
func TestClocks(t *testing.T) {
	off := func(d time.Duration) *time.Duration { return &d }
	const day = 24 * time.Hour
	for _, test := range []struct {
		name       string
		begin, end time.Duration  // of the certificate, from now
		ca         *time.Duration // the CA's clock, from this machine's
		resumed    bool
		lost       bool
		says       string
	}{
		{"ahead of the CA", -100 * day, -10 * day, off(-50 * day), false, false, "this machine's clock is wrong by 1200h0m0s"},
		{"behind the CA", 10 * day, 100 * day, off(50 * day), false, false, "this machine's clock is wrong by 1200h0m0s"},
		{"ahead, resumed", -100 * day, -10 * day, off(-50 * day), true, false, "this machine's clock is wrong by 1200h0m0s"},
		{"over by both clocks", -100 * day, -10 * day, off(0), false, true, "expired at"},
		{"over a moment ago", -100 * day, -time.Millisecond, off(-time.Second), false, true, "expired at"},
		{"not begun by both clocks", 3 * time.Hour, 100 * day, off(0), false, false, "behind its own certificate"},
		{"over, and no date", -100 * day, -10 * day, nil, false, false, "is this machine's clock right?"},
		{"over, resumed, and no date", -100 * day, -10 * day, nil, true, true, "is this machine's clock right?"},
		{"not begun, and no date", 3 * time.Hour, 100 * day, nil, false, false, "is this machine's clock right?"},
		{"no time at all", 2 * time.Hour, time.Hour, off(0), false, true, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *ca) {
				now := time.Now()
				c.SetFaults(dated(test.ca), c.Misissue(func(leaf *x509.Certificate) {
					leaf.NotBefore, leaf.NotAfter = now.Add(test.begin), now.Add(test.end)
				}))
				r := acme.Request{Key: newKey(t)}
				if test.resumed {
					r = c.crash(t, r, acme.ActionDownload)
				}
				_, err := c.issue(t, t.Context(), r)
				wantError(t, err, nil, test.says)
				if _, lost := errors.AsType[*acme.OrderError](err); lost != test.lost {
					t.Errorf("error %v; the order is given up: %t", err, lost)
				}
				if strings.Count(err.Error(), "acme: ") != 1 || len(c.Orders()) != 1 {
					t.Errorf("error %v, %d orders", err, len(c.Orders()))
				}
			})
		})
	}
}

// That the caller has no time left is no reason to give an order up, however old.
func TestDeadlineBeforeAnOldCertificate(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		r := c.crash(t, acme.Request{Key: newKey(t)}, acme.ActionDownload)
		r.FinalizedAt = time.Now().Add(-25 * time.Hour)
		c.SetFaults(acmetest.On("certificate", acmetest.Delay(time.Minute)))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := c.issue(t, ctx, r)
		wantError(t, err, context.DeadlineExceeded)
		if _, lost := errors.AsType[*acme.OrderError](err); lost {
			t.Error(err)
		}
	})
}

// A pause that the CA did not ask for is not called its wish.
func TestDeadlineBeforeTheCertificate(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		c.SetFaults(acmetest.On("order", editJSON(func(order map[string]any) { delete(order, "certificate") })))
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := c.issue(t, ctx, acme.Request{})
		wantError(t, err, context.DeadlineExceeded, "certificate's URL")
		if _, asked := errors.AsType[*acme.RetryAfterError](err); asked {
			t.Error(err)
		}
	})
}
