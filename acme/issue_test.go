package acme_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
)

// inBubble runs f with a CA in a bubble, whose clock moves only when all wait.
func inBubble(t *testing.T, f func(t *testing.T, c *ca)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newCA(t)) })
}

func TestIssue(t *testing.T) {
	for _, test := range []struct {
		name, solver string
		names        []string
	}{
		{"one name by http-01", acme.TypeHTTP01, []string{"example.com"}},
		{"one name by tls-alpn-01", acme.TypeTLSALPN01, []string{"example.com"}},
		{"several names by http-01", acme.TypeHTTP01, []string{"c.example.com", "a.example.com", "b.example.org"}},
		{"more names than go side by side", acme.TypeHTTP01, numbered(40)},
		{"several names by tls-alpn-01", acme.TypeTLSALPN01, []string{"c.example.com", "a.example.com"}},
		{"IPv4 by http-01", acme.TypeHTTP01, []string{"192.0.2.7"}},
		{"IPv6 by http-01", acme.TypeHTTP01, []string{"2001:DB8::7", "example.com"}},
		{"IPv6 by tls-alpn-01", acme.TypeTLSALPN01, []string{"2001:db8::7"}},
		{"wildcard and its parent by dns-01", acme.TypeDNS01, []string{"*.example.com", "example.com"}},
		{"an internationalized name", acme.TypeHTTP01, []string{"bücher.example"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *ca) {
				c.solver.kind = test.solver
				key, ids := newKey(t), identifiers(t, test.names...)
				certificate, err := c.issue(t, t.Context(), acme.Request{Identifiers: ids, Key: key})
				if err != nil {
					t.Fatal(err)
				}
				c.wantChain(t, certificate)
				if !key.PublicKey.Equal(certificate.Leaf.PublicKey) {
					t.Error("the certificate is for another key")
				}
				if got, want := namesOf(certificate.Leaf), valuesOf(ids); !slices.Equal(got, want) {
					t.Errorf("the certificate is for %q, want %q", got, want)
				}
				if len(c.solver.presented) != len(ids) || c.solver.left() != 0 {
					t.Errorf("%d answers were presented and %d are left, want %d and 0", len(c.solver.presented), c.solver.left(), len(ids))
				}
			})
		})
	}
}

func numbered(n int) []string {
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("n%d.example.com", i))
	}
	return names
}

// wantChain checks that clients which trust the CA trust the certificate.
func (c *ca) wantChain(t *testing.T, certificate *acme.Certificate) {
	t.Helper()
	intermediates := x509.NewCertPool()
	intermediates.AppendCertsFromPEM(certificate.PEM())
	if _, err := certificate.Leaf.Verify(x509.VerifyOptions{Roots: c.Roots(), Intermediates: intermediates}); err != nil {
		t.Errorf("the chain of %d does not verify: %v", len(certificate.Chain), err)
	}
	if !slices.Equal(certificate.Leaf.Raw, certificate.Chain[0]) || certificate.URL == "" {
		t.Errorf("URL %q, leaf not the first of the chain", certificate.URL)
	}
}

func namesOf(leaf *x509.Certificate) []string {
	names := slices.Clone(leaf.DNSNames)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	slices.Sort(names)
	return names
}

func valuesOf(ids []acme.Identifier) []string {
	var values []string
	for _, id := range ids {
		values = append(values, id.Value)
	}
	slices.Sort(values)
	return values
}

func TestIssueAsksAsLittleAsPossible(t *testing.T) {
	for _, n := range []int{1, 10} {
		inBubble(t, func(t *testing.T, c *ca) {
			nonces := 0 // beyond those that come with answers: where requests are under way at once
			for range 2 {
				c.forget()
				if _, err := c.issue(t, t.Context(), acme.Request{Identifiers: identifiers(t, numbered(n)...)}); err != nil {
					t.Fatal(err)
				}
				got := make(map[string]int)
				for _, r := range c.requests("") {
					got[r.resource]++
				}
				nonces += got["newNonce"]
				delete(got, "newNonce")
				want := map[string]int{"newOrder": 1, "authorization": n, "challenge": n, "order": 2, "finalize": 1, "certificate": 1}
				if !reflect.DeepEqual(got, want) || nonces > n-1 {
					t.Errorf("%d names: %d nonces and %v, want %v", n, nonces, got, want)
				}
			}
		})
	}
}

func TestIssueTellsEachStepBeforeIt(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		var steps []acme.Step
		resources := make(map[acme.Action]int) // how many requests there were before a step
		before := func(ctx context.Context, s acme.Step) error {
			steps = append(steps, s)
			resources[s.Action] = len(c.requests(""))
			switch s.Action {
			case acme.ActionOrder:
				if len(c.requests("newOrder")) > 0 {
					t.Error("the order was made before it was told")
				}
			case acme.ActionPresent:
				if len(c.solver.presented) > 0 || len(c.requests("challenge")) > 0 {
					t.Error("answers were presented or accepted before they were told")
				}
			case acme.ActionFinalize:
				if len(c.requests("finalize")) > 0 {
					t.Error("the order was finalized before it was told")
				}
			case acme.ActionDownload:
				if len(c.requests("certificate")) > 0 {
					t.Error("the certificate was fetched before it was told")
				}
			}
			return ctx.Err()
		}
		ids := identifiers(t, "b.example.com", "a.example.com")
		if _, err := c.issue(t, t.Context(), acme.Request{Identifiers: ids, Before: before}); err != nil {
			t.Fatal(err)
		}
		var actions []acme.Action
		for i, s := range steps {
			actions = append(actions, s.Action)
			if i > 0 && s.OrderURL != c.Orders()[0].URL {
				t.Errorf("step %s names the order %q, want %q", s.Action, s.OrderURL, c.Orders()[0].URL)
			}
			if (len(s.Proofs) > 0) != (s.Action == acme.ActionPresent || s.Action == acme.ActionAccept) {
				t.Errorf("step %s has %d proofs", s.Action, len(s.Proofs))
			}
		}
		want := []acme.Action{acme.ActionOrder, acme.ActionAuthorize, acme.ActionPresent, acme.ActionAccept, acme.ActionFinalize, acme.ActionDownload}
		if !slices.Equal(actions, want) {
			t.Fatalf("steps %q, want %q", actions, want)
		}
		if got := tokens(steps[2].Proofs); !slices.Equal(got, tokens(c.solver.presented)) || len(got) != 2 {
			t.Errorf("told of the proofs %q, presented %q", got, tokens(c.solver.presented))
		}
		for _, p := range steps[2].Proofs {
			if p.AccountURL == "" || p.DirectoryURL != c.URL || !strings.HasPrefix(p.KeyAuthorization, p.Token+".") || !slices.Contains(ids, p.Identifier) {
				t.Errorf("the proof %+v lacks something", p)
			}
		}
	})
}

// crash obtains a certificate until the step, at which Before ends the attempt. It returns what a
// journal has by then.
func (c *ca) crash(t *testing.T, r acme.Request, at acme.Action) acme.Request {
	t.Helper()
	errCrash := errors.New("crash")
	r.Before = func(_ context.Context, s acme.Step) error {
		r.OrderURL = s.OrderURL
		r.Presented = append(r.Presented, s.Proofs...)
		if s.Action == at {
			return errCrash
		}
		return nil
	}
	if _, err := c.issue(t, t.Context(), r); !errors.Is(err, errCrash) {
		t.Fatalf("stopped at %s with the error %v, want Before's own", at, err)
	}
	r.Before = nil
	return r
}

func TestIssueResumes(t *testing.T) {
	steps := []acme.Action{acme.ActionOrder, acme.ActionAuthorize, acme.ActionPresent, acme.ActionAccept, acme.ActionFinalize, acme.ActionDownload}
	for _, at := range steps {
		t.Run(string(at), func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *ca) {
				r := c.crash(t, acme.Request{Key: newKey(t)}, at)
				if at == acme.ActionOrder {
					if len(c.Orders()) != 0 || r.OrderURL != "" {
						t.Fatalf("%d orders, URL %q", len(c.Orders()), r.OrderURL)
					}
					return
				}
				certificate, err := c.issue(t, t.Context(), r)
				if err != nil {
					t.Fatal(err)
				}
				c.wantChain(t, certificate)
				if len(c.Orders()) != 1 || len(c.Certificates()) != 1 {
					t.Errorf("%d orders and %d certificates, want one of each", len(c.Orders()), len(c.Certificates()))
				}
				if cleaned := c.solver.cleanedTokens(); c.solver.left() != 0 || len(cleaned) == 0 {
					t.Errorf("cleaned up %q, %d answers are left", cleaned, c.solver.left())
				}
				again, err := c.issue(t, t.Context(), r) // the order is valid now
				if err != nil || !again.Leaf.Equal(certificate.Leaf) {
					t.Errorf("the order gives another certificate the second time (%v)", err)
				}
			})
		})
	}
}

// A process killed after the CA was told finds its challenge "processing", or the order ready.
func TestIssueResumesAfterAcceptance(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		ctx, cancel := context.WithCancel(t.Context())
		var blocking atomic.Bool
		blocking.Store(true)
		r := acme.Request{Key: newKey(t)}
		r.Before = func(_ context.Context, s acme.Step) error {
			r.OrderURL, r.Presented = s.OrderURL, append(r.Presented, s.Proofs...)
			return nil
		}
		c.intercept = func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
			if resourceOf(req) == "order" && blocking.Load() {
				cancel()
				<-req.Context().Done()
				return nil, req.Context().Err()
			}
			return next.RoundTrip(req)
		}
		if _, err := c.issue(t, ctx, r); !errors.Is(err, context.Canceled) {
			t.Fatalf("error %v, want context.Canceled", err)
		}
		blocking.Store(false)
		if _, err := c.issue(t, t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if len(c.requests("challenge")) != 1 || len(c.Certificates()) != 1 {
			t.Errorf("%d acceptances, %d certificates", len(c.requests("challenge")), len(c.Certificates()))
		}
	})
}

// The answer is published again, and the CA, which is validating, is not told again.
func TestIssueResumesDuringValidation(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		dial := c.solver.dial
		c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			time.Sleep(8 * time.Second)
			return dial(ctx, network, address)
		}
		r := c.crash(t, acme.Request{Key: newKey(t)}, acme.ActionPresent)
		if _, err := c.client.AcceptChallenge(t.Context(), r.Presented[0].URL, nil); err != nil {
			t.Fatal(err)
		}
		c.forget()
		if _, err := c.issue(t, t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if n := len(c.requests("challenge")); n != 0 || len(c.solver.presented) != 1 || c.solver.left() != 0 {
			t.Errorf("told %d times, presented %d times, %d answers left", n, len(c.solver.presented), c.solver.left())
		}
	})
}

// An order that is pending still may have failed already: then nothing is presented any more.
func TestIssueLooksForFailuresFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		authorization := strings.Replace(authorizationFor("example.com", "token"), `"status":"pending","token"`, `"status":"invalid","error":`+problem("caa", "CAA forbids")+`,"token"`, 1)
		presented, err := issueFrom(t, hostileCA(authorization))
		var failed *acme.OrderError
		if !errors.As(err, &failed) || len(presented) != 0 {
			t.Errorf("%d answers presented, error %v, want an OrderError", len(presented), err)
		}
		wantError(t, err, acme.ErrCAA, "example.com", "CAA forbids")
	})
}

func TestIssueRefusesAnOrderForOtherNames(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		r := c.crash(t, acme.Request{Key: newKey(t)}, acme.ActionFinalize)
		cleaned := len(c.solver.cleaned)
		r.Identifiers = identifiers(t, "example.com", "www.example.com")
		_, err := c.issue(t, t.Context(), r)
		var failed *acme.OrderError
		if !errors.As(err, &failed) || failed.URL != r.OrderURL {
			t.Fatalf("error %v, want an OrderError about %s", err, r.OrderURL)
		}
		wantError(t, err, nil, "other names")
		if len(c.Certificates()) != 0 {
			t.Error("a certificate was issued")
		}
		if len(c.solver.cleaned) == cleaned {
			t.Error("Request.Presented was not cleaned up though the order cannot be resumed")
		}
	})
}

func TestIssueReportsThatTheOrderIsGone(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		r := c.crash(t, acme.Request{Key: newKey(t)}, acme.ActionFinalize)
		cleaned := len(c.solver.cleaned)
		r.OrderURL += "gone"
		_, err := c.issue(t, t.Context(), r)
		var failed *acme.OrderError
		if !errors.As(err, &failed) || failed.URL != r.OrderURL {
			t.Fatalf("error %v, want an OrderError about %s", err, r.OrderURL)
		}
		wantError(t, err, acme.ErrMalformed)
		if len(c.solver.cleaned) == cleaned {
			t.Error("Request.Presented was not cleaned up though the order cannot be resumed")
		}
	})
}

func TestProofSurvivesJSON(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		c.solver.kind = acme.TypeDNS01
		if _, err := c.issue(t, t.Context(), acme.Request{Identifiers: identifiers(t, "*.example.com")}); err != nil {
			t.Fatal(err)
		}
		want := c.solver.presented[0]
		want.Validated = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		want.Error = &acme.Problem{Type: acme.ErrDNS, Detail: "not yet", Status: 400}
		written, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got acme.Proof
		if err := json.Unmarshal(written, &got); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) || !got.Wildcard || got.KeyAuthorization == "" {
			t.Errorf("read back\n%+v, want\n%+v", got, want)
		}
	})
}

func TestIssueWaitsBeforeItTellsTheCA(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		visible := make(map[string]time.Time)
		waiting := waitingSolver{
			solver: c.solver,
			wait: func(ctx context.Context, p acme.Proof) error {
				if n := len(c.solver.presented); n != 2 {
					t.Errorf("waiting with %d answers presented, want 2", n)
				}
				time.Sleep(time.Minute)
				c.solver.mu.Lock()
				visible[p.Token] = time.Now()
				c.solver.mu.Unlock()
				return nil
			},
			supports: func(acme.Identifier, bool) bool { return true },
		}
		c.intercept = func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
			if resourceOf(r) == "challenge" && len(visible) != 2 {
				t.Error("the CA was told before all answers could be seen")
			}
			return next.RoundTrip(r)
		}
		if _, err := c.issue(t, t.Context(), acme.Request{Identifiers: identifiers(t, "a.example.com", "b.example.com"), Solvers: []acme.Solver{waiting}}); err != nil {
			t.Fatal(err)
		}

		errNever := errors.New("the record never came")
		c.forget()
		waiting.wait = func(context.Context, acme.Proof) error { return errNever }
		_, err := c.issue(t, t.Context(), acme.Request{Solvers: []acme.Solver{waiting}})
		wantError(t, err, errNever, "example.com", acme.TypeHTTP01)
		if len(c.requests("challenge")) > 0 {
			t.Error("the CA was told though Wait failed")
		}
		c.wantCleanedUp(t)
	})
}

func TestIssueChoosesTheFirstSolverThatFits(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		dns, http01 := newSolver(acme.TypeDNS01, c.Server), c.solver
		none := waitingSolver{solver: newSolver(acme.TypeHTTP01, nil), supports: func(id acme.Identifier, wildcard bool) bool {
			if wildcard != (id.Value == "wild.example.com") {
				t.Errorf("asked for %q, wildcard %t", id.Value, wildcard)
			}
			return false
		}}
		ids := identifiers(t, "a.example.com", "*.wild.example.com", "192.0.2.1")
		if _, err := c.issue(t, t.Context(), acme.Request{Identifiers: ids, Solvers: []acme.Solver{none, http01, dns}}); err != nil {
			t.Fatal(err)
		}
		if len(none.presented) != 0 || len(http01.presented) != 2 || len(dns.presented) != 1 || !dns.presented[0].Wildcard {
			t.Errorf("presented %d, %d and %d answers", len(none.presented), len(http01.presented), len(dns.presented))
		}
	})
}

func TestIssueNeedsASolver(t *testing.T) {
	for _, test := range []struct{ name, solver string }{
		{"*.example.com", acme.TypeHTTP01},
		{"192.0.2.1", acme.TypeDNS01},
		{"example.com", "device-attest-01"},
	} {
		inBubble(t, func(t *testing.T, c *ca) {
			c.solver.kind = test.solver
			_, err := c.issue(t, t.Context(), acme.Request{Identifiers: identifiers(t, test.name)})
			var failed *acme.OrderError
			if !errors.As(err, &failed) {
				t.Errorf("%s: error %v, want an OrderError", test.name, err)
			}
			wantError(t, err, nil, test.name, test.solver, "-01")
			if len(c.solver.presented) != 0 {
				t.Error("an answer was presented")
			}
		})
	}
}

func TestIssueSaysWhatFailed(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		c.SetHost("bad1.example.com", "")
		c.SetHost("*", "")
		c.SetHost("good.example.com", "192.0.2.1")
		_, err := c.issue(t, t.Context(), acme.Request{Identifiers: identifiers(t, "good.example.com", "bad1.example.com", "bad2.example.com")})
		var failed *acme.OrderError
		if !errors.As(err, &failed) || failed.URL != c.Orders()[0].URL {
			t.Fatalf("error %v, want an OrderError", err)
		}
		wantError(t, err, acme.ErrDNS, "bad1.example.com", "bad2.example.com", acme.TypeHTTP01, "does not resolve")
		if strings.Contains(err.Error(), "good.example.com") {
			t.Errorf("the error %q blames an identifier that was proved", err)
		}
		var names []string
		for _, a := range failed.Authorizations {
			names = append(names, a.Identifier)
			if a.ChallengeType != acme.TypeHTTP01 || a.Problem == nil || a.Status != acme.StatusInvalid {
				t.Errorf("authorization error %+v", a)
			}
		}
		slices.Sort(names)
		if !slices.Equal(names, []string{"bad1.example.com", "bad2.example.com"}) {
			t.Errorf("failed were %q", names)
		}
		var authorization *acme.AuthorizationError
		var problem *acme.Problem
		if !errors.As(err, &authorization) || !errors.As(err, &problem) {
			t.Error("neither an AuthorizationError nor a Problem is found in the error")
		}
	})
}

func TestIssueChecksTheRequest(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		c.forget()
		for _, test := range []struct {
			request acme.Request
			says    string
		}{
			{acme.Request{Key: newKey(t)}, "Identifiers"},
			{acme.Request{Identifiers: identifiers(t, "example.com")}, "Key"},
			{acme.Request{Identifiers: identifiers(t, "example.com"), Key: c.client.Key}, "account"},
		} {
			_, err := c.client.Issue(t.Context(), test.request)
			wantError(t, err, nil, test.says)
		}
		_, err := (&acme.Client{}).Issue(t.Context(), acme.Request{Identifiers: identifiers(t, "example.com"), Key: newKey(t)})
		wantError(t, err, nil, "Client.Key")
		if n := len(c.requests("")); n != 0 {
			t.Errorf("%d requests were made for nothing", n)
		}
	})
}

// Identifiers in another form than ParseIdentifier's must not cost an order, again and again, that is
// given up for names which do not seem to be those ordered.
func TestIssueTakesNoOtherFormOfIdentifiers(t *testing.T) {
	for _, id := range []acme.Identifier{
		{Type: acme.TypeDNS, Value: ""},
		{Type: acme.TypeDNS, Value: "example.com."},
		{Type: acme.TypeDNS, Value: "Example.COM"},
		{Type: acme.TypeDNS, Value: "bücher.example"},
		{Type: acme.TypeIP, Value: "2001:DB8::1"},
		{Type: acme.TypeIP, Value: "example.com"},
	} {
		inBubble(t, func(t *testing.T, c *ca) {
			_, err := c.issue(t, t.Context(), acme.Request{Identifiers: []acme.Identifier{id}})
			if n := len(c.requests("")); err == nil || n > 0 {
				t.Errorf("%q: %d requests, error %v", id.Value, n, err)
			}
		})
	}
}
