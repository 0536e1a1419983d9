package acme_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
)

// onOrder changes orders that have the status.
func onOrder(status string, edit func(order map[string]any)) acmetest.Fault {
	return acmetest.On("order", editJSON(func(order map[string]any) {
		if order["status"] == status {
			edit(order)
		}
	}))
}

// An invalid order that does not tell what failed is asked about by every authorization that it ever had.
func TestInvalidOrderThatHidesWhy(t *testing.T) {
	names := []string{"a.example.com", "b.example.com", "c.example.com"}
	for _, test := range []struct {
		name string
		edit func(order map[string]any)
	}{
		{"null", func(order map[string]any) { order["authorizations"] = nil }},
		{"absent", func(order map[string]any) { delete(order, "authorizations") }},
		{"the valid ones alone", func(order map[string]any) {
			order["authorizations"] = order["authorizations"].([]any)[:2]
		}},
	} {
		hide := onOrder("invalid", func(order map[string]any) {
			delete(order, "error")
			test.edit(order)
		})
		inBubble(t, func(t *testing.T, c *ca) {
			c.FailValidations(names[2], 1)
			c.SetFaults(hide)
			explained := 0
			_, err := c.issue(t, t.Context(), acme.Request{Identifiers: identifiers(t, names...), Explain: func(_ context.Context, err error, _ []acme.Proof) error {
				explained++
				return err
			}})
			failed, ok := errors.AsType[*acme.AuthorizationError](err)
			if !ok || failed.Identifier != names[2] || failed.ChallengeType != acme.TypeHTTP01 || explained != 1 {
				t.Errorf("%s: error %v, explained %d times", test.name, err, explained)
			}
			if strings.Contains(err.Error(), "does not tell why") {
				t.Error(err)
			}
		})
		// Who resumes the order after a crash has the authorizations from the proofs.
		inBubble(t, func(t *testing.T, c *ca) {
			c.FailValidations(names[2], 1)
			r := acme.Request{Identifiers: identifiers(t, names...), Key: newKey(t)}
			r.Before = func(_ context.Context, s acme.Step) error {
				r.OrderURL = s.OrderURL
				r.Presented = append(r.Presented, s.Proofs...)
				return nil
			}
			if _, err := c.issue(t, t.Context(), r); err == nil {
				t.Fatal("no error")
			}
			written, err := json.Marshal(r.Presented)
			if err != nil || json.Unmarshal(written, &r.Presented) != nil {
				t.Fatal(err)
			}
			c.SetFaults(hide)
			_, err = c.issue(t, t.Context(), r)
			if failed, ok := errors.AsType[*acme.AuthorizationError](err); !ok || failed.Identifier != names[2] {
				t.Errorf("%s, resumed: error %v", test.name, err)
			}
		})
	}
}

// What an order listed while it was waited for counts, too.
func TestWaitedForOrderThatHidesWhy(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		c.Dial = func(context.Context, string, string) (net.Conn, error) {
			time.Sleep(time.Second)
			return nil, errors.New("refused")
		}
		c.SetFaults(onOrder("invalid", func(order map[string]any) { order["authorizations"], order["error"] = nil, nil }))
		order, err := c.client.NewOrder(t.Context(), acme.OrderRequest{Identifiers: identifiers(t, "example.com")})
		if err != nil {
			t.Fatal(err)
		}
		a, err := c.client.GetAuthorization(t.Context(), order.Authorizations[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.client.AcceptChallenge(t.Context(), a.Challenges[0].URL, nil); err != nil {
			t.Fatal(err)
		}
		_, err = c.client.WaitOrder(t.Context(), &acme.Order{URL: order.URL, Status: order.Status})
		if failed, ok := errors.AsType[*acme.AuthorizationError](err); !ok || failed.Identifier != "example.com" {
			t.Error(err)
		}
	})
}

// What the order listed before its certificate was asked for counts, too.
func TestFinalizedOrderThatHidesWhy(t *testing.T) {
	names := []string{"a.example.com", "b.example.com"}
	inBubble(t, func(t *testing.T, c *ca) {
		c.SetFaults(
			acmetest.On("authorization", editJSON(func(a map[string]any) {
				if c.asked("finalize") > 0 && a["identifier"].(map[string]any)["value"] == names[1] {
					challenge := a["challenges"].([]any)[0].(map[string]any)
					a["status"], challenge["status"], challenge["error"] = "invalid", "invalid", json.RawMessage(problem("caa", "CAA forbids it"))
				}
			})),
			acmetest.On("finalize", editJSON(func(order map[string]any) { order["status"], order["authorizations"] = "invalid", nil })))
		_, err := c.issue(t, t.Context(), acme.Request{Identifiers: identifiers(t, names...)})
		wantError(t, err, acme.ErrCAA, names[1])
	})
}

// What became of an earlier order, whose proofs are there to be taken away, says nothing of this one.
func TestProofsOfAnotherOrder(t *testing.T) {
	for _, resumed := range []bool{false, true} {
		inBubble(t, func(t *testing.T, c *ca) {
			c.FailValidations("example.com", 1)
			r := c.crash(t, acme.Request{Key: newKey(t)}, acme.ActionPresent)
			if _, err := c.issue(t, t.Context(), r); err == nil {
				t.Fatal("no error")
			}
			dial := c.Dial
			c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				time.Sleep(8 * time.Second) // the order is pending for long
				return dial(ctx, network, address)
			}
			r.OrderURL = ""
			if resumed {
				r = c.crash(t, r, acme.ActionPresent)
			}
			if _, err := c.issue(t, t.Context(), r); err != nil {
				t.Errorf("resumed %t: %v", resumed, err)
			}
			if n := len(c.Orders()); n != 2 {
				t.Errorf("%d orders", n)
			}
		})
	}
}

// A CA that lists other authorizations with each answer is not asked for all of them.
func TestAuthorizationsThatAreRenamed(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		listed := 0
		c.SetFaults(acmetest.On("order", editJSON(func(order map[string]any) {
			var urls []string
			for range 500 {
				listed++
				urls = append(urls, fmt.Sprintf("https://acmetest.invalid/authorization/other%d", listed))
			}
			order["status"], order["authorizations"] = "pending", urls
		})), acmetest.On("challenge", acmetest.Answer(200, "application/json", `{"status":"processing"}`)))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := c.issue(t, ctx, acme.Request{})
		wantError(t, err, context.DeadlineExceeded)
		if n := c.asked("authorization"); n > 300 {
			t.Errorf("%d requests for authorizations", n)
		}
	})
}

// An order that the CA processes for ever is given up, over as many attempts as it takes.
func TestProcessingForEver(t *testing.T) {
	stuck := func(c *ca) {
		c.SetFaults(onOrder("valid", func(order map[string]any) {
			order["status"] = "processing"
			delete(order, "certificate")
		}), acmetest.On("order", acmetest.WithHeader("Retry-After", "3")))
	}
	inBubble(t, func(t *testing.T, c *ca) {
		stuck(c)
		r := acme.Request{Key: newKey(t)}
		r.Before = func(_ context.Context, s acme.Step) error {
			r.OrderURL = s.OrderURL
			if s.Action == acme.ActionFinalize {
				r.FinalizedAt = time.Now()
			}
			return nil
		}
		start := time.Now()
		for attempt := 1; ; attempt++ {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			_, err := c.issue(t, ctx, r)
			cancel()
			if _, ok := errors.AsType[*acme.OrderError](err); ok {
				wantError(t, err, nil, "given up", "processes it since 2000-01-01T00:00:")
				if took := time.Since(start); took < 45*time.Minute || took > time.Hour {
					t.Errorf("given up after %v, in attempt %d", took, attempt)
				}
				break
			}
			wantError(t, err, context.DeadlineExceeded, "processing after", "polls in 9m5")
			if strings.Contains(err.Error(), "come back") {
				t.Error(err)
			}
			if attempt == 10 {
				t.Fatalf("not given up in %v: %v", time.Since(start), err)
			}
		}
		if len(c.Orders()) != 1 || c.asked("finalize") != 1 {
			t.Errorf("%d orders, finalized %d times", len(c.Orders()), c.asked("finalize"))
		}
	})
	// One attempt without a deadline ends, too.
	inBubble(t, func(t *testing.T, c *ca) {
		stuck(c)
		start := time.Now()
		_, err := c.issue(t, t.Context(), acme.Request{})
		wantError(t, err, nil, "given up")
		if took := time.Since(start); took < 45*time.Minute || took > time.Hour {
			t.Errorf("given up after %v", took)
		}
	})
}

// A challenge that the CA forgot, as after a restart, is accepted once more, after about a minute and while the
// answer is published.
func TestChallengeThatTheCAForgot(t *testing.T) {
	forget := func(n int) acmetest.Fault {
		return acmetest.On("challenge", acmetest.Next(n, func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				answer(200, `{"type":"http-01","status":"pending","url":"https://`+r.Host+r.URL.Path+`"}`, "Replay-Nonce", "")(w, r)
			})
		}))
	}
	inBubble(t, func(t *testing.T, c *ca) {
		c.SetFaults(forget(1))
		start := time.Now()
		if _, err := c.issue(t, t.Context(), acme.Request{}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < 45*time.Second || took > 90*time.Second {
			t.Errorf("it took %v", took)
		}
		if n := c.asked("challenge"); n != 2 || len(c.Orders()) != 1 {
			t.Errorf("accepted %d times, %d orders", n, len(c.Orders()))
		}
	})
	inBubble(t, func(t *testing.T, c *ca) {
		c.SetFaults(forget(100))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		_, err := c.issue(t, ctx, acme.Request{})
		wantError(t, err, context.DeadlineExceeded, "pending after")
		if n := c.asked("challenge"); n != 2 {
			t.Errorf("accepted %d times, want 2", n)
		}
	})
}

// What is about to be taken away is not accepted again.
func TestForgottenChallengeAtTheDeadline(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		c.SetFaults(acmetest.On("challenge", acmetest.Answer(200, "application/json", `{"type":"http-01","status":"pending"}`)),
			acmetest.On("order", acmetest.WithHeader("Retry-After", "45")))
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
		defer cancel()
		_, err := c.issue(t, ctx, acme.Request{})
		wantError(t, err, context.DeadlineExceeded, "pending after 3 polls in 1m30s")
		if n := c.asked("challenge"); n != 1 {
			t.Errorf("accepted %d times", n)
		}
	})
}

// A CA that tries by itself for longer than the caller waits has told what kept it.
func TestCauseOfAChallengeThatIsProcessing(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		// The CA itself is never told.
		accepted := answer(200, `{"type":"http-01","status":"processing"}`)
		c.SetFaults(acmetest.On("challenge", func(http.Handler) http.Handler { return accepted }), editChallenges(func(challenge map[string]any) {
			if c.asked("challenge") > 0 && challenge["type"] == acme.TypeHTTP01 {
				challenge["status"] = "processing"
				challenge["error"] = map[string]any{"type": acme.ErrConnection, "detail": "connection refused by 192.0.2.1"}
			}
		}))
		for _, timeout := range []time.Duration{2 * time.Second, time.Minute} {
			c.forget()
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			_, err := c.issue(t, ctx, acme.Request{})
			cancel()
			wantError(t, err, context.DeadlineExceeded, "connection refused by 192.0.2.1", "keeps trying")
			if strings.Count(err.Error(), "connection refused") != 1 {
				t.Errorf("told more than once: %v", err)
			}
			wantError(t, err, acme.ErrConnection)
			if failed, ok := errors.AsType[*acme.AuthorizationError](err); !ok || failed.Identifier != "example.com" || failed.ChallengeType != acme.TypeHTTP01 {
				t.Errorf("%v: error %v", timeout, err)
			}
			if _, lost := errors.AsType[*acme.OrderError](err); lost {
				t.Errorf("given up: %v", err)
			}
		}
	})
}

// How long validation took, and what kept it for a while, is no matter once the certificate is waited for.
func TestPollsBeginAnew(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		dial := c.Dial
		c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			time.Sleep(8 * time.Second)
			return dial(ctx, network, address)
		}
		var finalized time.Time
		before := func(_ context.Context, s acme.Step) error {
			if s.Action == acme.ActionFinalize {
				finalized = time.Now()
			}
			return nil
		}
		if _, err := c.issue(t, t.Context(), acme.Request{Before: before}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(finalized); took > time.Second {
			t.Errorf("the certificate came %v after finalize", took)
		}

		c.SetFaults(editChallenges(func(challenge map[string]any) {
			if challenge["status"] == "processing" {
				challenge["error"] = map[string]any{"type": acme.ErrConnection, "detail": "connection refused"}
			}
		}), onOrder("valid", func(order map[string]any) { order["status"] = "processing" }))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := c.issue(t, ctx, acme.Request{Before: before})
		wantError(t, err, context.DeadlineExceeded, "the order, which is processing")
		if strings.Contains(err.Error(), "refused") {
			t.Errorf("of what was mended is told: %v", err)
		}
	})
}

// Polls that are refused now and then do not end the wait, however many they are, and are repeated when the CA says.
func TestPollsThatAreRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		refusal := c.RateLimited("30")
		c.SetFaults(acmetest.On("order", func(next http.Handler) http.Handler {
			refused := refusal(next)
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if c.asked("order")%2 == 1 {
					refused.ServeHTTP(w, r)
					return
				}
				next.ServeHTTP(w, r)
			})
		}), c.Processing(10))
		start := time.Now()
		if _, err := c.issue(t, t.Context(), acme.Request{}); err != nil {
			t.Fatal(err)
		}
		if n, took := c.asked("order"), time.Since(start); n < 20 || took < 5*time.Minute || took > 10*time.Minute {
			t.Errorf("%d polls in %v", n, took)
		}
	})
}

// withErrors returns the authorization with an error in each of its challenges.
func withErrors(resp *http.Response) (*http.Response, error) {
	var a map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		return nil, err
	}
	for _, challenge := range a["challenges"].([]any) {
		challenge.(map[string]any)["error"] = json.RawMessage(problem("connection", "refused"))
		if a["status"] == "pending" {
			challenge.(map[string]any)["status"] = "pending"
		}
	}
	body, err := json.Marshal(a)
	return response(resp.Request, 200, string(body)), err
}

// Where one challenge can't be accepted, the answers to the others stay until the CA has looked for them.
func TestAnswersStayForTheCA(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		dial := c.Dial
		c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			time.Sleep(5 * time.Second)
			return dial(ctx, network, address)
		}
		var tried atomic.Value // string
		inVain := func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				tried.Store("https://" + r.Host + r.URL.Path)
				answer(200, `{"type":"http-01","status":"pending","error":`+problem("rateLimited", "refused")+`}`)(w, r)
			})
		}
		for n, fault := range []acmetest.Fault{c.RateLimited("60"), inVain} {
			c.SetFaults(acmetest.On("challenge", acmetest.Next(1, fault)), editChallenges(func(challenge map[string]any) {
				if challenge["url"] == tried.Load() {
					challenge["error"] = json.RawMessage(problem("rateLimited", "refused"))
				}
			}))
			r := acme.Request{Identifiers: identifiers(t, "a.example.com", "b.example.com"), Key: newKey(t)}
			_, err := c.issue(t, t.Context(), r)
			wantError(t, err, acme.ErrRateLimited)
			time.Sleep(time.Minute)
			c.SetFaults()
			r.OrderURL = c.Orders()[n].URL
			if _, err := c.issue(t, t.Context(), r); err != nil || len(c.Orders()) != n+1 {
				t.Errorf("error %v, %d orders", err, len(c.Orders()))
			}
		}
	})
}

// A CA that validates while it answers, and puts the challenge back to pending, is asked why at once.
func TestAcceptedInVain(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		tried := false
		c.intercept = func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
			if resourceOf(r) == "challenge" {
				tried = true
				return response(r, 200, `{"type":"http-01","status":"pending","error":`+problem("connection", "refused")+`}`), nil
			}
			resp, err := next.RoundTrip(r)
			if err == nil && resourceOf(r) == "authorization" && tried {
				return withErrors(resp)
			}
			return resp, err
		}
		start := time.Now()
		_, err := c.issue(t, t.Context(), acme.Request{})
		wantError(t, err, acme.ErrConnection, "accept again", "example.com: http-01: refused")
		if took := time.Since(start); took > 100*time.Millisecond || c.asked("order") > 0 {
			t.Errorf("it took %v and %d polls", took, c.asked("order"))
		}
		if _, lost := errors.AsType[*acme.OrderError](err); lost {
			t.Errorf("given up: %v", err)
		}

		// The next attempt resumes the order. That the error is there already says nothing of this try.
		c.intercept = func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
			resp, err := next.RoundTrip(r)
			if err == nil && resourceOf(r) == "challenge" {
				return response(r, 200, `{"type":"http-01","status":"pending","error":`+problem("connection", "refused")+`}`), nil
			}
			if err == nil && resourceOf(r) == "authorization" {
				return withErrors(resp)
			}
			return resp, err
		}
		dial := c.Dial
		c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			time.Sleep(time.Second)
			return dial(ctx, network, address)
		}
		if _, err := c.issue(t, t.Context(), acme.Request{OrderURL: c.Orders()[0].URL}); err != nil || len(c.Orders()) != 1 {
			t.Errorf("error %v, %d orders", err, len(c.Orders()))
		}
	})
}
