package acme_test

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
)

// An oddOrder is a way that a CA deals with an order for example.com.
type oddOrder struct {
	name   string
	fault  func(c *ca) acmetest.Fault
	target error    // that the issuance fails with; nil with no says: it succeeds
	says   []string // by its error
	again  bool     // the same order may be resumed
}

func (odd oddOrder) test(t *testing.T, c *ca) {
	c.RetryAfter = 3 * time.Second
	c.SetFaults(odd.fault(c))
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	certificate, err := c.issue(t, ctx, acme.Request{})
	if odd.target == nil && odd.says == nil {
		if err != nil {
			t.Fatal(err)
		}
		c.wantChain(t, certificate)
		return
	}
	wantError(t, err, odd.target, odd.says...)
	wantPrintable(t, err.Error())
	var failed *acme.OrderError
	if errors.As(err, &failed) == odd.again {
		t.Errorf("error %v; an OrderError: %t", err, !odd.again)
	}
	if certificate != nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("certificate %v, error %v", certificate, err)
	}
	if len(c.Orders()) > 1 || len(c.requests("finalize")) > 3 {
		t.Errorf("%d orders, %d requests to finalize", len(c.Orders()), len(c.requests("finalize")))
	}
	if c.solver.left() != 0 {
		t.Errorf("%d answers are left", c.solver.left())
	}
}

func TestIssueOfOddOrders(t *testing.T) {
	on := func(resource string, fault acmetest.Fault) func(*ca) acmetest.Fault {
		return func(*ca) acmetest.Fault { return acmetest.On(resource, fault) }
	}
	other := newKey(t)
	for _, odd := range []oddOrder{
		{"processing for long", func(c *ca) acmetest.Fault { return c.Processing(200) }, nil, nil, false},
		{"finalized without a Location", on("finalize", acmetest.WithoutHeader("Location")), nil, nil, false},
		{"another Location of what is finalized", on("finalize", acmetest.WithHeader("Location", "https://ca.example/elsewhere")), nil, nil, false},
		{"made without a Location", on("newOrder", acmetest.WithoutHeader("Location")), nil, []string{"new order", "Location"}, true},
		{"invalid though it was ready", func(c *ca) acmetest.Fault {
			return acmetest.On("finalize", c.Invalidate("caa", "CAA forbids it now"))
		}, acme.ErrCAA, []string{"CAA forbids it now"}, false},
		{"never ready", func(c *ca) acmetest.Fault {
			return acmetest.On("order", c.Invalidate("rejectedIdentifier", "on second thought no"))
		}, acme.ErrRejectedIdentifier, []string{"on second thought no"}, false},
		{"invalid after processing", func(c *ca) acmetest.Fault { return c.FailIssuance("serverInternal", "the HSM is down") },
			acme.ErrServerInternal, []string{"the HSM is down"}, false},
		{"a profile that is refused late", func(c *ca) acmetest.Fault {
			return acmetest.On("finalize", c.Problem(400, "invalidProfile", "no such profile any more"))
		}, acme.ErrInvalidProfile, []string{"no such profile any more"}, false},
		{"a request that is refused", func(c *ca) acmetest.Fault {
			return acmetest.On("finalize", c.Problem(400, "badCSR", "the key is weak"))
		}, acme.ErrBadCSR, []string{"the key is weak"}, false},
		{"a limit at the end", func(c *ca) acmetest.Fault { return acmetest.On("finalize", c.RateLimited("7200")) },
			acme.ErrRateLimited, []string{"finalize", "2h"}, true},
		{"a validation that fails", func(c *ca) acmetest.Fault {
			c.FailValidations("example.com", 1)
			return acmetest.Next(0, acmetest.Cut())
		}, acme.ErrUnauthorized, []string{"example.com", acme.TypeHTTP01}, false},
		{"a certificate for another key", misissued(func(c *x509.Certificate) { c.PublicKey = other.Public() }), nil, []string{"another key"}, false},
		{"a certificate for other names", misissued(func(c *x509.Certificate) { c.DNSNames = []string{"www.example.com"} }), nil, []string{"does not name example.com"}, false},
		{"an expired certificate", misissued(func(c *x509.Certificate) { c.NotAfter = c.NotBefore.Add(time.Nanosecond) }), nil, []string{"expired"}, false},
		{"a certificate not yet valid", misissued(func(c *x509.Certificate) { c.NotBefore = c.NotBefore.Add(time.Hour) }), nil, []string{"clock"}, true},
	} {
		t.Run(odd.name, func(t *testing.T) { inBubble(t, odd.test) })
	}
}

func misissued(change func(*x509.Certificate)) func(*ca) acmetest.Fault {
	return func(c *ca) acmetest.Fault { return c.Misissue(change) }
}

// An order that failed fails at once when it is resumed, without another try at its names, and an order
// without these succeeds.
func TestOrderAgainWithoutTheBadNames(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		ids := identifiers(t, "bad.example.com", "good.example.com", "*.worse.example.com")
		c.FailValidations("bad.example.com", 1)
		c.FailValidations("*.worse.example.com", 1)
		r := acme.Request{Identifiers: ids, Solvers: []acme.Solver{c.solver, newSolver(acme.TypeDNS01, c.Server)}}
		for range 2 {
			c.forget()
			_, err := c.issue(t, t.Context(), r)
			var failed *acme.OrderError
			if !errors.As(err, &failed) || len(failed.Authorizations) != 2 {
				t.Fatalf("error %v, want an OrderError about two names", err)
			}
			wantError(t, err, acme.ErrUnauthorized, "bad.example.com: http-01", "*.worse.example.com: dns-01")
			if n := len(c.requests("challenge")); r.OrderURL != "" && n > 0 {
				t.Errorf("gone on with, %d challenges are accepted", n)
			}
			r.OrderURL = failed.URL
			r.Identifiers = ids
			for _, a := range failed.Authorizations {
				ids = slices.DeleteFunc(slices.Clone(ids), func(id acme.Identifier) bool { return id.Value == a.Identifier })
			}
		}
		certificate, err := c.issue(t, t.Context(), acme.Request{Identifiers: ids})
		if err != nil || !slices.Equal(namesOf(certificate.Leaf), []string{"good.example.com"}) {
			t.Errorf("ordered again for %q: %v", ids, err)
		}
	})
}

// A CA refuses an order for names that it does not serve, and says which (RFC 8555 §6.7.1).
func TestOrderAgainWithoutTheRefusedNames(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		c.Refuse("bad.example.com")
		ids := identifiers(t, "bad.example.com", "good.example.com")
		_, err := c.issue(t, t.Context(), acme.Request{Identifiers: ids})
		var refusal *acme.Problem
		if !errors.As(err, &refusal) {
			t.Fatal(err)
		}
		for _, sub := range refusal.Subproblems {
			ids = slices.DeleteFunc(ids, func(id acme.Identifier) bool { return id == *sub.Identifier })
		}
		if _, err := c.issue(t, t.Context(), acme.Request{Identifiers: ids}); err != nil || len(ids) != 1 {
			t.Errorf("ordered again for %q: %v", ids, err)
		}
	})
}

// Neither identifiers nor authorizations are in an order that can be relied on, and there need not be as
// many of the one as of the other.
func TestOrdersInAnyOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		c.SetFaults(acmetest.Edit(func(r *acmetest.Response) {
			var order map[string]any
			if json.Unmarshal(r.Body, &order) != nil || order["authorizations"] == nil {
				return
			}
			for _, list := range []string{"identifiers", "authorizations"} {
				slices.Reverse(order[list].([]any))
			}
			order["authorizations"] = append(order["authorizations"].([]any), order["authorizations"].([]any)[0])
			r.Body, _ = json.Marshal(order)
		}))
		ids := identifiers(t, "c.example.com", "a.example.com", "b.example.com")
		certificate, err := c.issue(t, t.Context(), acme.Request{Identifiers: ids})
		if err != nil || len(certificate.Leaf.DNSNames) != 3 || c.solver.left() != 0 {
			t.Errorf("%v, %d answers left", err, c.solver.left())
		}
	})
}

// Authorizations may be valid from earlier on, all or some of them.
func TestIssueWithAuthorizationsFromEarlierOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newUnregisteredCA(t, func(s *acmetest.Server) { s.ReuseAuthorizations = true })
		if _, err := c.client.Register(t.Context(), acme.Registration{AgreeToTerms: true}); err != nil {
			t.Fatal(err)
		}
		for i, names := range [][]string{{"a.example.com"}, {"a.example.com", "b.example.com"}, {"b.example.com", "a.example.com"}} {
			c.forget()
			c.solver.presented = nil
			if _, err := c.issue(t, t.Context(), acme.Request{Identifiers: identifiers(t, names...)}); err != nil {
				t.Fatal(err)
			}
			if want := []int{1, 1, 0}[i]; len(c.solver.presented) != want || len(c.requests("challenge")) != want {
				t.Errorf("order %d: %d answers presented and %d accepted, want %d", i+1, len(c.solver.presented), len(c.requests("challenge")), want)
			}
		}
	})
}

// A CA may answer newOrder with an order that it has already (RFC 8555 §7.4), in whatever state.
func TestNewOrderIsOneThatThereIs(t *testing.T) {
	for _, at := range []acme.Action{acme.ActionAuthorize, acme.ActionPresent, acme.ActionAccept, acme.ActionFinalize, acme.ActionDownload} {
		t.Run(string(at), func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *ca) {
				r := c.crash(t, acme.Request{Key: newKey(t)}, at)
				url := r.OrderURL
				order, err := c.client.GetOrder(t.Context(), url)
				if err != nil {
					t.Fatal(err)
				}
				body, err := json.Marshal(order)
				if err != nil {
					t.Fatal(err)
				}
				c.intercept = func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
					if resourceOf(req) == "newOrder" {
						return response(req, http.StatusOK, string(body), "Location", url), nil
					}
					return next.RoundTrip(req)
				}
				r.OrderURL = ""
				certificate, err := c.issue(t, t.Context(), r)
				if err != nil {
					t.Fatal(err)
				}
				c.wantChain(t, certificate)
				if len(c.Orders()) != 1 || len(c.Certificates()) != 1 {
					t.Errorf("%d certificates of %d orders", len(c.Certificates()), len(c.Orders()))
				}
			})
		})
	}
}

// A request that the CA refuses leaves the order ready for a better one (RFC 8555 §7.4).
func TestFinalizeAgainAfterABadRequest(t *testing.T) {
	inScene(t, call{name: "FinalizeOrder"}, func(t *testing.T, s *scene) {
		_, err := s.client.FinalizeOrder(t.Context(), s.ready, []byte("no CSR"))
		wantError(t, err, acme.ErrBadCSR, "finalize")
		order, err := s.client.GetOrder(t.Context(), s.ready.URL)
		if err != nil || order.Status != acme.StatusReady {
			t.Fatalf("order %+v, %v", order, err)
		}
		if _, err := s.issue(t, t.Context(), acme.Request{Identifiers: order.Identifiers, OrderURL: order.URL}); err != nil {
			t.Error(err)
		}
	})
}

// The certificate request has the names as subject alternative names, each of its kind, and no common name.
func TestCertificateRequest(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		names := []string{"2001:db8::1", "192.0.2.1", "example.com"}
		if _, err := c.issue(t, t.Context(), acme.Request{Identifiers: identifiers(t, names...)}); err != nil {
			t.Fatal(err)
		}
		var payload struct{ CSR string }
		if err := json.Unmarshal([]byte(c.requests("finalize")[0].payload), &payload); err != nil {
			t.Fatal(err)
		}
		der, err := base64.RawURLEncoding.DecodeString(payload.CSR)
		if err != nil {
			t.Fatal(err)
		}
		request, err := x509.ParseCertificateRequest(der)
		if err != nil {
			t.Fatal(err)
		}
		if request.CheckSignature() != nil || request.Subject.String() != "" || !slices.Equal(request.DNSNames, []string{"example.com"}) || len(request.IPAddresses) != 2 {
			t.Errorf("subject %q, names %q, addresses %v", request.Subject, request.DNSNames, request.IPAddresses)
		}
	})
}
