package acme_test

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
)

// An Explain that returns nothing leaves the error as it is.
func TestExplainNil(t *testing.T) {
	c := newCA(t)
	c.FailValidations("example.com", 9)
	_, err := c.issue(t, t.Context(), acme.Request{Explain: func(context.Context, error, []acme.Proof) error { return nil }})
	if err == nil {
		t.Error("no error")
	}
	var a *acme.AuthorizationError
	if !errors.As(err, &a) {
		t.Errorf("%v", err)
	}
}

// A replica of the CA that lags tells an earlier status of the order: that is no reason to give it up.
func TestStaleReadyAfterProcessing(t *testing.T) {
	for _, stale := range []string{"ready", "pending"} {
		t.Run(stale, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCA(t)
				c.SetFaults(c.Processing(3))
				finalized, staled := false, false
				c.intercept = func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
					resp, err := next.RoundTrip(r)
					if resourceOf(r) == "finalize" {
						finalized = true
						return resp, err
					}
					if finalized && !staled && resourceOf(r) == "order" {
						staled = true
						body, _ := io.ReadAll(resp.Body)
						b := strings.Replace(string(body), `"processing"`, `"`+stale+`"`, 1)
						if b == string(body) {
							t.Fatalf("not processing: %s", body)
						}
						resp.Body = io.NopCloser(strings.NewReader(b))
						resp.ContentLength = int64(len(b))
						resp.Header.Del("Content-Length")
					}
					return resp, err
				}
				_, err := c.issue(t, t.Context(), acme.Request{})
				if err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A finalize refused by a replica that has not seen the order become ready does not cost the order.
func TestOrderNotReadyOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCA(t)
		n := 0
		c.intercept = func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
			if resourceOf(r) == "finalize" {
				if n++; n == 1 {
					return response(r, 403, problem("orderNotReady", "Order's status (\"pending\") is not acceptable for finalization")), nil
				}
			}
			return next.RoundTrip(r)
		}
		_, err := c.issue(t, t.Context(), acme.Request{})
		var failed *acme.OrderError
		if errors.As(err, &failed) {
			t.Errorf("the order, which is ready, is given up: %v", err)
		}
	})
}

// A front end's page is no word of the CA's, and does not cost the order.
func TestFrontEndPageGivesUpTheOrder(t *testing.T) {
	for _, resource := range []string{"certificate", "order", "finalize", "authorization"} {
		for _, status := range []int{403, 405} {
			t.Run(fmt.Sprint(resource, status), func(t *testing.T) {
				c := newCA(t)
				n := 0
				c.intercept = func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
					if strings.HasPrefix(resourceOf(r), resource) || resource == "authorization" && strings.HasPrefix(resourceOf(r), "authz") {
						if n++; n == 1 {
							return response(r, status, "<html>Attention required", "Content-Type", "text/html"), nil
						}
					}
					return next.RoundTrip(r)
				}
				_, err := c.issue(t, t.Context(), acme.Request{})
				var failed *acme.OrderError
				if errors.As(err, &failed) {
					t.Errorf("given up: %v", err)
				}
				if n == 0 {
					t.Error("not hit", c.Requests())
				}
			})
		}
	}
}

// Where the CA asked for nothing, a deadline is but a deadline.
func TestNobodyAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fake{"/o": answer(200, `{"status":"processing"}`)}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := f.client(t).WaitOrder(ctx, &acme.Order{URL: fakeOrigin + "/o", Status: "processing"})
		var asks *acme.RetryAfterError
		if errors.As(err, &asks) {
			t.Errorf("the CA asked for nothing: %v", err)
		}
	})
}

// A CA that asks to wait is not asked again at once without the predecessor.
func TestReplacesWhileTheCAIsDown(t *testing.T) {
	c := newCA(t)
	orders := 0
	c.intercept = func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if resourceOf(r) == "newOrder" {
			orders++
			return response(r, 503, problem("serverInternal", "down for maintenance"), "Retry-After", "3600"), nil
		}
		return next.RoundTrip(r)
	}
	_, err := c.issue(t, t.Context(), acme.Request{Replaces: &x509.Certificate{AuthorityKeyId: []byte{1}, SerialNumber: big.NewInt(1)}})
	wantError(t, err, acme.ErrServerInternal)
	if orders != 1 {
		t.Errorf("%d orders, want 1", orders)
	}
}

// A challenge that cannot be answered leaves the solvers for others their turn.
func TestNextSolver(t *testing.T) {
	c := newCA(t)
	c.intercept = func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if strings.HasPrefix(resourceOf(r), "auth") {
			body, _ := io.ReadAll(resp.Body)
			b := strings.Replace(string(body), `"challenges":[`, `"challenges":[{"type":"dns-persist-01","status":"pending","url":"https://x.example/1","issuer-domain-names":["ca.example"],"accounturi":"https://elsewhere.example/1"},`, 1)
			if b == string(body) {
				t.Fatalf("%s", body)
			}
			resp.Body = io.NopCloser(strings.NewReader(b))
			resp.ContentLength = -1
			resp.Header.Del("Content-Length")
		}
		return resp, err
	}
	_, err := c.issue(t, t.Context(), acme.Request{Solvers: []acme.Solver{newSolver("dns-persist-01", c.Server), c.solver}})
	if err != nil {
		t.Error(err)
	}
}

// What failed before an authorization became valid by another challenge does not matter.
func TestValidAuthorizationWithAFailedChallenge(t *testing.T) {
	valid := `{"status":"valid","identifier":{"type":"dns","value":"example.com"},"challenges":[{"type":"http-01","status":"valid","url":"/c/1","token":"a"},{"type":"dns-01","status":"invalid","url":"/c/2","token":"b","error":{"detail":"an earlier try"}}]}`
	pending := `{"type":"dns","value":"b.example.com"}`
	f := fake{
		"/newOrder": answer(201, `{"status":"pending","finalize":"/f","authorizations":["/a/1","/a/2"]}`, "Location", "/o"),
		"/a/1":      answer(200, valid),
		"/a/2":      answer(200, `{"status":"pending","identifier":`+pending+`,"challenges":[{"type":"http-01","status":"pending","url":"/c/3","token":"c"}]}`),
		"/c/3":      answer(200, `{"type":"http-01","status":"processing","url":"/c/3","token":"c"}`),
		"/o":        answer(200, `{"status":"ready","finalize":"/f","authorizations":["/a/1","/a/2"]}`),
		"/f":        answer(500, ``),
	}
	_, err := f.client(t).Issue(t.Context(), acme.Request{Identifiers: identifiers(t, "example.com", "b.example.com"), Key: newKey(t), Solvers: []acme.Solver{newSolver("http-01", nil)}})
	var failed *acme.AuthorizationError
	if errors.As(err, &failed) {
		t.Errorf("a valid authorization is called failed: %v", err)
	}
}

// A certificate that begins in the future may be right, and the clock wrong: the order is kept.
func TestClockBehind(t *testing.T) {
	c := newCA(t)
	c.SetFaults(c.Misissue(func(leaf *x509.Certificate) { leaf.NotBefore = time.Now().Add(3 * time.Hour) }))
	_, err := c.issue(t, t.Context(), acme.Request{})
	var failed *acme.OrderError
	wantError(t, err, nil, "clock")
	if errors.As(err, &failed) {
		t.Errorf("given up: %v", err)
	}
}

// An error without type and words says nothing.
func TestEmptyError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		f := fake{
			"/a": answer(200, `{"status":"pending","identifier":{"type":"dns","value":"example.com"},"challenges":[{"type":"http-01","status":"pending","url":"/c","token":"c","error":{}}]}`),
		}
		f["/o"] = func(w http.ResponseWriter, r *http.Request) {
			if n++; n > 20 {
				answer(200, `{"status":"ready","authorizations":["/a"]}`)(w, r)
				return
			}
			answer(200, `{"status":"pending","authorizations":["/a"]}`)(w, r)
		}
		_, err := f.client(t).WaitOrder(t.Context(), &acme.Order{URL: fakeOrigin + "/o", Status: "pending"})
		if err != nil {
			t.Error(err)
		}
	})
}

// A date is read by the clock of the one who sent it.
func TestRetryAfterByTheCAsClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		f := fake{}
		f["/o"] = func(w http.ResponseWriter, r *http.Request) {
			if n++; n > 1 {
				answer(200, `{"status":"valid"}`)(w, r)
				return
			}
			theirs := time.Now().Add(6 * time.Hour)
			answer(200, `{"status":"processing"}`, "Date", theirs.UTC().Format(http.TimeFormat), "Retry-After", theirs.Add(5*time.Second).UTC().Format(http.TimeFormat))(w, r)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_, err := f.client(t).WaitOrder(ctx, &acme.Order{URL: fakeOrigin + "/o", Status: "processing"})
		if err != nil {
			t.Error(err)
		}
	})
}

// The certificate has come: its alternates are not waited for long.
func TestAlternatesThatKeepOneWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCA(t)
		c.intercept = func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
			if strings.HasPrefix(r.URL.Path, "/alternate") {
				return response(r, 503, problem("serverInternal", "busy"), "Retry-After", "10"), nil
			}
			resp, err := next.RoundTrip(r)
			if resourceOf(r) == "certificate" {
				for i := range 50 {
					resp.Header.Add("Link", `</alternate/`+strings.Repeat("x", i+1)+`>;rel="alternate"`)
				}
			}
			return resp, err
		}
		start := time.Now()
		_, err := c.issue(t, t.Context(), acme.Request{PreferredChain: "no such root"})
		if d := time.Since(start); err != nil || d > 2*time.Minute {
			t.Errorf("the certificate came after %v, %v", d, err)
		}
	})
}

func TestWaitAuthorization(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		f := fake{}
		end := `"valid"`
		f["/a"] = func(w http.ResponseWriter, r *http.Request) {
			status := `"pending"`
			if n++; n == 4 {
				status = end
			}
			answer(200, `{"status":`+status+`,"identifier":{"type":"dns","value":"example.com"},"challenges":[]}`, "Retry-After", "7")(w, r)
		}
		start := time.Now()
		a, err := f.client(t).WaitAuthorization(t.Context(), fakeOrigin+"/a")
		if err != nil || a.Status != "valid" || time.Since(start) != 21*time.Second {
			t.Error(a, err, time.Since(start))
		}
		n, end = 0, `"invalid"`
		_, err = f.client(t).WaitAuthorization(t.Context(), fakeOrigin+"/a")
		var failed *acme.AuthorizationError
		if !errors.As(err, &failed) {
			t.Error(err)
		}
	})
}

func TestIssueForACSR(t *testing.T) {
	c := newCA(t)
	key := newKey(t)
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"example.com"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	r := acme.Request{Identifiers: identifiers(t, "example.com"), Solvers: []acme.Solver{c.solver}, CSR: csr}
	certificate, err := c.client.Issue(t.Context(), r)
	if err != nil || !key.PublicKey.Equal(certificate.Leaf.PublicKey) {
		t.Fatal(err)
	}
	r.Identifiers = identifiers(t, "other.example.com")
	if _, err = c.client.Issue(t.Context(), r); err == nil {
		t.Error("names differ")
	}
}

func TestThumbprint(t *testing.T) {
	c := newCA(t)
	thumbprint, err := c.client.Thumbprint()
	all, err2 := c.client.KeyAuthorization("abc")
	if err != nil || err2 != nil || !strings.HasSuffix(all, "."+thumbprint) {
		t.Error(thumbprint, all, err)
	}
}

// Where one acceptance is refused, the answers that the CA looks for meanwhile stay until it has looked.
func TestARefusedAcceptanceLeavesTheOthersTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCA(t)
		web := c.Dial
		c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			time.Sleep(2 * time.Second) // the CA takes its time
			return web(ctx, network, address)
		}
		var refused atomic.Bool
		c.intercept = func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
			if resourceOf(r) == "challenge" && !refused.Swap(true) {
				return response(r, 500, problem("serverInternal", "not this one")), nil
			}
			return next.RoundTrip(r)
		}
		_, err := c.issue(t, t.Context(), acme.Request{Identifiers: identifiers(t, "a.example.com", "b.example.com")})
		wantError(t, err, acme.ErrServerInternal)
		c.intercept = nil
		if _, err := c.issue(t, t.Context(), acme.Request{Identifiers: identifiers(t, "a.example.com", "b.example.com"), OrderURL: c.Orders()[0].URL}); err != nil {
			t.Errorf("the order was lost: %v", err)
		}
	})
}
