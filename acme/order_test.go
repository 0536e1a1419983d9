package acme_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
)

// An orderScript is a CA whose order is polled: it notes when, and answers what next says.
type orderScript struct {
	polls []time.Duration // since the poll before
	next  func(poll int, w http.ResponseWriter, r *http.Request)
}

// wait polls the order until it is no longer of the status.
func (s *orderScript) wait(t *testing.T, ctx context.Context, order acme.Order) (*acme.Order, error) {
	t.Helper()
	last := time.Now()
	f := fake{"/order": func(w http.ResponseWriter, r *http.Request) {
		s.polls = append(s.polls, time.Since(last))
		last = time.Now()
		s.next(len(s.polls), w, r)
	}}
	f["/authorization"] = answer(200, `{"status":"pending","identifier":{"type":"dns","value":"example.com"},"challenges":[{"type":"http-01","status":"processing"}]}`)
	client := f.client(t)
	client.AccountURL = fakeOrigin + "/account/1"
	order.URL = fakeOrigin + "/order"
	return client.WaitOrder(ctx, &order)
}

// until answers that the order is processing, and valid at the n-th poll.
func until(n int, headers ...string) func(int, http.ResponseWriter, *http.Request) {
	return func(poll int, w http.ResponseWriter, r *http.Request) {
		status := acme.StatusProcessing
		if poll == n {
			status = acme.StatusValid
		}
		answer(200, fmt.Sprintf(`{"status":%q,"authorizations":["/authorization"],"certificate":"/certificate"}`, status), headers...)(w, r)
	}
}

func TestWaitOrderPollsLessAndLessOften(t *testing.T) {
	for _, headers := range [][]string{nil, {"Retry-After", "0"}, {"Retry-After", "-1"}, {"Retry-After", "soon"}, {"Retry-After", "Thu, 01 Jan 1970 00:00:00 GMT"}} {
		synctest.Test(t, func(t *testing.T) {
			script := &orderScript{next: until(10, headers...)}
			order, err := script.wait(t, t.Context(), acme.Order{Status: acme.StatusProcessing})
			if err != nil || order.Status != acme.StatusValid || order.Certificate != fakeOrigin+"/certificate" {
				t.Fatalf("order %+v, error %v", order, err)
			}
			var intervals []time.Duration
			for d := 100 * time.Millisecond; len(intervals) < 10; d = min(2*d, 5*time.Second) {
				intervals = append(intervals, d)
			}
			if len(script.polls) != len(intervals) {
				t.Fatalf("%q: polled after %v", headers, script.polls)
			}
			for i, want := range intervals {
				if got := script.polls[i]; got < want*9/10 || got > want*11/10 {
					t.Errorf("%q: poll %d came after %v, want %v within a tenth", headers, i+1, got, want)
				}
			}
		})
	}
}

func TestWaitOrderObeysRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		script := &orderScript{next: until(3, "Retry-After", "7")}
		if _, err := script.wait(t, t.Context(), acme.Order{Status: acme.StatusProcessing, RetryAfter: 3 * time.Second}); err != nil {
			t.Fatal(err)
		}
		want := []time.Duration{3 * time.Second, 7 * time.Second, 7 * time.Second}
		for i, d := range want {
			if i >= len(script.polls) || script.polls[i] != d {
				t.Fatalf("polled after %v, want %v", script.polls, want)
			}
		}
	})
}

func TestWaitOrderReturnsAtOnceWhatTheDeadlineForbids(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		script := &orderScript{next: until(9, "Retry-After", "3600")}
		_, err := script.wait(t, ctx, acme.Order{Status: acme.StatusProcessing})
		wantError(t, err, context.DeadlineExceeded, "processing", "1h0m0s")
		if took := time.Since(start); took > time.Second || len(script.polls) != 1 {
			t.Errorf("returned after %v and %d polls", took, len(script.polls))
		}
	})
}

func TestWaitOrderEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)
		start := time.Now()
		script := &orderScript{next: until(0)}
		_, err := script.wait(t, ctx, acme.Order{Status: acme.StatusProcessing})
		wantError(t, err, context.Canceled)
		if took := time.Since(start); took != time.Minute || len(script.polls) > 20 {
			t.Errorf("returned after %v and %d polls", took, len(script.polls))
		}
	})
}

func TestWaitOrderBearsFailuresInBetween(t *testing.T) {
	for name, failure := range map[string]http.HandlerFunc{
		"503":  answer(503, "busy", "Content-Type", "text/plain"),
		"429":  answer(429, problem("rateLimited", "slowly"), "Retry-After", "30"),
		"HTML": answer(200, "<html>", "Content-Type", "text/html"),
		"cut":  func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		synctest.Test(t, func(t *testing.T) {
			script := &orderScript{next: func(poll int, w http.ResponseWriter, r *http.Request) {
				if poll <= 2 {
					failure(w, r)
					return
				}
				until(poll)(poll, w, r)
			}}
			if _, err := script.wait(t, t.Context(), acme.Order{Status: acme.StatusProcessing}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if name == "429" && script.polls[1] != 30*time.Second {
				t.Errorf("polled after %v though the CA asked to wait 30 s", script.polls)
			}

			for _, final := range []int{403, 410} {
				script = &orderScript{next: func(_ int, w http.ResponseWriter, r *http.Request) { answer(final, problem("malformed", "gone"))(w, r) }}
				_, err := script.wait(t, t.Context(), acme.Order{Status: acme.StatusProcessing})
				wantError(t, err, acme.ErrMalformed, "gone")
				if len(script.polls) != 1 {
					t.Errorf("%d: polled %d times though the answer is final", final, len(script.polls))
				}
			}
			start := time.Now()
			script = &orderScript{next: func(_ int, w http.ResponseWriter, r *http.Request) { failure(w, r) }}
			if _, err := script.wait(t, t.Context(), acme.Order{Status: acme.StatusProcessing}); err == nil || len(script.polls) > 20 || time.Since(start) > 10*time.Minute {
				t.Errorf("%s for ever: error %v after %d polls and %v", name, err, len(script.polls), time.Since(start))
			}
		})
	}
}

func TestWaitOrderReturnsFinalOrdersAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		script := &orderScript{next: until(1)}
		order, err := script.wait(t, ctx, acme.Order{Status: acme.StatusValid})
		if err != nil || order.Status != acme.StatusValid || len(script.polls) > 1 {
			t.Errorf("a valid order was polled %d times; error %v", len(script.polls), err)
		}
	})
}

func TestWaitOrderReportsAnInvalidOrder(t *testing.T) {
	for _, was := range []string{acme.StatusPending, acme.StatusProcessing, acme.StatusInvalid} {
		t.Run(was, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				script := &orderScript{next: func(_ int, w http.ResponseWriter, r *http.Request) {
					answer(200, `{"status":"invalid","authorizations":["/authorization"],"error":`+problem("caa", "CAA forbids")+`}`)(w, r)
				}}
				order := acme.Order{Status: was}
				if was == acme.StatusInvalid {
					order.Error = &acme.Problem{Type: acme.ErrCAA, Detail: "CAA forbids"}
				}
				_, err := script.wait(t, t.Context(), order)
				var failed *acme.OrderError
				if !errors.As(err, &failed) || failed.URL != fakeOrigin+"/order" {
					t.Errorf("error %v, want an OrderError", err)
				}
				wantError(t, err, acme.ErrCAA, "CAA forbids")
			})
		})
	}
}

func TestTooManyAuthorizationsAndChallenges(t *testing.T) {
	client := fake{"/order": answer(200, `{"status":"pending","authorizations":["/a"`+strings.Repeat(`,"/a"`, 2000)+`]}`)}.client(t)
	client.AccountURL = fakeOrigin + "/account/1"
	_, err := client.GetOrder(t.Context(), fakeOrigin+"/order")
	wantError(t, err, nil, "2001 authorizations")

	client = fake{"/authorization": answer(200, `{"status":"pending","challenges":[{}`+strings.Repeat(`,{}`, 2000)+`]}`)}.client(t)
	client.AccountURL = fakeOrigin + "/account/1"
	_, err = client.GetAuthorization(t.Context(), fakeOrigin+"/authorization")
	wantError(t, err, nil, "2001 challenges")
}

// step-ca leaves order and authorization pending for ever after a failed challenge.
func TestIssueEndsThoughTheOrderStaysPending(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		c.SetHost("bad.example.com", "")
		c.SetHost("*", "")
		c.SetHost("good.example.com", "192.0.2.1")
		c.intercept = func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
			resp, err := next.RoundTrip(r)
			if err != nil || resourceOf(r) != "order" && resourceOf(r) != "authorization" {
				return resp, err
			}
			body, err := io.ReadAll(resp.Body)
			text := strings.Replace(string(body), `{"status":"invalid"`, `{"status":"pending"`, 1)
			resp.Body = io.NopCloser(strings.NewReader(text))
			return resp, err
		}
		start := time.Now()
		_, err := c.issue(t, t.Context(), acme.Request{Identifiers: identifiers(t, "good.example.com", "bad.example.com")})
		var failed *acme.OrderError
		if !errors.As(err, &failed) || len(failed.Authorizations) != 1 || failed.Authorizations[0].Identifier != "bad.example.com" {
			t.Fatalf("error %v, want an OrderError about bad.example.com", err)
		}
		wantError(t, err, acme.ErrDNS, "does not resolve")
		if took := time.Since(start); took > 30*time.Second || len(c.requests("order")) > 12 {
			t.Errorf("it took %v and %d polls", took, len(c.requests("order")))
		}
	})
}

func TestNewOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		ids := identifiers(t, "example.com", "192.0.2.1")
		notAfter := time.Now().Add(48 * time.Hour).UTC()
		order, err := c.client.NewOrder(t.Context(), acme.OrderRequest{Identifiers: ids, NotAfter: notAfter})
		if err != nil {
			t.Fatal(err)
		}
		if order.Status != acme.StatusPending || len(order.Authorizations) != 2 || order.URL == "" || order.Finalize == "" || !order.NotAfter.Equal(notAfter) || order.Expires.IsZero() {
			t.Errorf("order %+v", order)
		}
		got, err := c.client.GetOrder(t.Context(), order.URL)
		if err != nil || got.URL != order.URL || got.Status != order.Status {
			t.Errorf("fetched %+v, error %v", got, err)
		}
		if payload := c.requests("newOrder")[0].payload; strings.Contains(payload, "notBefore") || !strings.Contains(payload, "notAfter") {
			t.Errorf("payload %s", payload)
		}
		certificate, err := c.issue(t, t.Context(), acme.Request{NotAfter: notAfter})
		if err != nil {
			t.Fatal(err)
		}
		if !certificate.Leaf.NotAfter.Equal(notAfter) {
			t.Errorf("the certificate ends at %v, want %v", certificate.Leaf.NotAfter, notAfter)
		}
	})
}

func TestOrderIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		c.Refuse("bad.example.com")
		_, err := c.issue(t, t.Context(), acme.Request{Identifiers: identifiers(t, "good.example.com", "bad.example.com")})
		wantError(t, err, acme.ErrRejectedIdentifier, "bad.example.com")
		var refusal *acme.Problem
		if !errors.As(err, &refusal) || len(refusal.Subproblems) != 1 || refusal.Subproblems[0].Identifier.Value != "bad.example.com" {
			t.Errorf("problem %+v", refusal)
		}
		var failed *acme.OrderError
		if errors.As(err, &failed) {
			t.Error("there is no order that could have failed")
		}
	})
}

// Step by step, as a tool of one's own would do it.
func TestStepByStep(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		order, err := c.client.NewOrder(t.Context(), acme.OrderRequest{Identifiers: identifiers(t, "example.com")})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.client.FinalizeOrder(t.Context(), order, []byte("no CSR"))
		wantError(t, err, acme.ErrOrderNotReady)
		authorization, err := c.client.GetAuthorization(t.Context(), order.Authorizations[0])
		if err != nil || authorization.URL != order.Authorizations[0] || len(authorization.Challenges) != 3 || authorization.Status != acme.StatusPending {
			t.Fatalf("authorization %+v, error %v", authorization, err)
		}
		for _, challenge := range authorization.Challenges {
			if challenge.Type != acme.TypeHTTP01 {
				continue
			}
			keyAuthorization, err := c.client.KeyAuthorization(challenge.Token)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.solver.Present(t.Context(), acme.Proof{Challenge: challenge, Identifier: authorization.Identifier, KeyAuthorization: keyAuthorization}); err != nil {
				t.Fatal(err)
			}
			accepted, err := c.client.AcceptChallenge(t.Context(), challenge.URL, nil)
			if err != nil || accepted.URL != challenge.URL || accepted.Status != acme.StatusProcessing {
				t.Fatalf("challenge %+v, error %v", accepted, err)
			}
		}
		if order, err = c.client.WaitOrder(t.Context(), order); err != nil || order.Status != acme.StatusReady {
			t.Fatalf("order %+v, error %v", order, err)
		}
		_, err = c.client.FinalizeOrder(t.Context(), order, []byte("no CSR"))
		wantError(t, err, acme.ErrBadCSR)
	})
}
