package acme_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
)

// A call is one that a client makes, to the resources named if all goes well.
type call struct {
	name string
	do   func(ctx context.Context, c *acme.Client) error
}

// calls returns every call that crosses the network.
func calls(t *testing.T) []call {
	ids, key := identifiers(t, "example.com"), newKey(t)
	order := func() *acme.Order {
		return &acme.Order{URL: fakeOrigin + "/order", Status: acme.StatusProcessing, Finalize: fakeOrigin + "/finalize"}
	}
	errOf := func(_ any, err error) error { return err }
	return []call{
		{"GetDirectory", func(ctx context.Context, c *acme.Client) error { return errOf(c.GetDirectory(ctx)) }},
		{"Register", func(ctx context.Context, c *acme.Client) error {
			return errOf(c.Register(ctx, acme.Registration{AgreeToTerms: true}))
		}},
		{"FindAccount", func(ctx context.Context, c *acme.Client) error { return errOf(c.FindAccount(ctx)) }},
		{"NewOrder", func(ctx context.Context, c *acme.Client) error {
			return errOf(c.NewOrder(ctx, acme.OrderRequest{Identifiers: ids}))
		}},
		{"GetOrder", func(ctx context.Context, c *acme.Client) error { return errOf(c.GetOrder(ctx, fakeOrigin+"/order")) }},
		{"WaitOrder", func(ctx context.Context, c *acme.Client) error { return errOf(c.WaitOrder(ctx, order())) }},
		{"FinalizeOrder", func(ctx context.Context, c *acme.Client) error {
			return errOf(c.FinalizeOrder(ctx, order(), []byte("csr")))
		}},
		{"GetAuthorization", func(ctx context.Context, c *acme.Client) error {
			return errOf(c.GetAuthorization(ctx, fakeOrigin+"/authorization"))
		}},
		{"AcceptChallenge", func(ctx context.Context, c *acme.Client) error {
			return errOf(c.AcceptChallenge(ctx, fakeOrigin+"/challenge", nil))
		}},
		{"GetCertificate", func(ctx context.Context, c *acme.Client) error {
			return errOf(c.GetCertificate(ctx, fakeOrigin+"/certificate"))
		}},
		{"Issue", func(ctx context.Context, c *acme.Client) error {
			return errOf(c.Issue(ctx, acme.Request{Identifiers: ids, Key: key}))
		}},
		{"Issue going on", func(ctx context.Context, c *acme.Client) error {
			return errOf(c.Issue(ctx, acme.Request{Identifiers: ids, Key: key, OrderURL: fakeOrigin + "/order"}))
		}},
	}
}

// TestHostileAnswers gives each call each fault. In a bubble a call that hangs or leaves a goroutine
// makes the test fail.
func TestHostileAnswers(t *testing.T) {
	escape := "\x1b[31m\u202e"
	for name, handler := range map[string]http.HandlerFunc{
		"HTML":            answer(200, "<html>"+escape, "Content-Type", "text/html"),
		"empty":           answer(200, ""),
		"nothing":         answer(204, ""),
		"an array":        answer(200, "[]"),
		"a string":        answer(200, `"`+strings.Repeat("x", 1<<19)+`"`),
		"half":            answer(200, `{"status":"va`),
		"deep":            answer(200, strings.Repeat(`{"status":`, 100_000)),
		"wrong types":     answer(200, `{"status":{},"newNonce":1,"identifiers":"x","authorizations":{},"challenges":7,"url":[]}`, "Location", "/x"),
		"a long date":     answer(200, `{"newNonce":[],"status":7,"expires":"`+strings.Repeat("9", 1<<19)+`"}`, "Location", "/x"),
		"a bad date":      answer(200, `{"newNonce":[],"status":7,"expires":"\u001b[31m\u202e","challenges":[{"validated":"x"}]}`, "Location", "/x"),
		"an odd status":   answer(200, `{"status":"\u001b[31m","token":7,"challenges":[{"url":"https://[::1"}]}`, "Location", "/x"),
		"a redirect":      answer(302, "", "Location", "https://ca.example/elsewhere"),
		"a bad redirect":  answer(302, "", "Location", "http://\x7f"),
		"no redirect":     answer(304, ""),
		"refused":         answer(403, `{"detail":"\u001b[31m\u202e","type":"\u0000","identifier":{"value":"\u0007"}}`),
		"gone":            answer(404, escape),
		"failed":          answer(500, strings.Repeat(escape, 10_000)),
		"an odd code":     answer(999, ""),
		"too large":       answer(200, strings.Repeat(" ", 1<<20+1)),
		"cut":             func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"silence":         func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done(); panic(http.ErrAbortHandler) },
		"a far Retry":     answer(503, "", "Retry-After", "99999999999"),
		"a hot Retry":     answer(503, "", "Retry-After", "0"),
		"a nonce for all": answer(400, problem("badNonce", "no"), "Replay-Nonce", "x"),
	} {
		for _, call := range calls(t) {
			t.Run(name+"/"+call.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { giveFault(t, call, handler) })
			})
		}
	}
}

// giveFault makes the call to a CA that answers all of its requests with the fault, but for those
// that come before.
func giveFault(t *testing.T, call call, fault http.HandlerFunc) {
	f := fake{}
	for _, resource := range []string{"order", "finalize", "authorization", "challenge", "certificate", "newOrder", "elsewhere"} {
		f["/"+resource] = fault
	}
	switch call.name {
	case "GetDirectory":
		f["/directory"] = fault
	case "Register", "FindAccount":
		f["/newAccount"] = fault
	}
	asked := 0
	client := f.client(t)
	client.HTTPClient.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
		asked++
		return handlerTransport{f}.RoundTrip(r)
	})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	err := call.do(ctx, client)
	if err == nil {
		t.Fatal("no error")
	}
	if asked > 200 {
		t.Errorf("%d requests", asked)
	}
	wantPrintable(t, err.Error())
}

// A CA of one order whose resources are replaced to misbehave.
func hostileCA(authorization string) fake {
	order := `{"status":"pending","identifiers":[{"type":"dns","value":"example.com"}],"authorizations":["/authorization"],"finalize":"/finalize"}`
	return fake{
		"/newOrder":      answer(201, order, "Location", "/order"),
		"/order":         answer(200, order),
		"/authorization": answer(200, authorization),
		"/challenge":     answer(200, `{"type":"http-01","status":"processing"}`),
	}
}

// issueFrom runs Issue for example.com for an hour at most, and returns what was presented.
func issueFrom(t *testing.T, f fake) ([]acme.Proof, error) {
	t.Helper()
	s := newSolver(acme.TypeHTTP01, nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	_, err := f.client(t).Issue(ctx, acme.Request{Identifiers: identifiers(t, "example.com"), Key: newKey(t), Solvers: []acme.Solver{s}})
	if err == nil {
		t.Fatal("no error")
	}
	wantPrintable(t, err.Error())
	return s.presented, err
}

func authorizationFor(value, token string) string {
	body, err := json.Marshal(map[string]any{
		"status": "pending", "identifier": map[string]string{"type": "dns", "value": value},
		"challenges": []map[string]string{{"type": "http-01", "status": "pending", "url": "/challenge", "token": token}},
	})
	if err != nil {
		panic(err)
	}
	return string(body)
}

// A solver may write a file of the token's name, or a record in the identifier's zone.
func TestSolversAreGivenNothingForeign(t *testing.T) {
	const token = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"
	synctest.Test(t, func(t *testing.T) {
		if presented, err := issueFrom(t, hostileCA(authorizationFor("example.com", token))); len(presented) != 1 {
			t.Fatalf("a good authorization is not answered: %v", err)
		}
	})
	for _, test := range []struct{ name, value, token string }{
		{"path in the token", "example.com", "../../etc/cron.d/x"},
		{"control characters in the token", "example.com", "a\r\nSet-Cookie: x"},
		{"enormous token", "example.com", strings.Repeat("a", 1<<15)},
		{"no token", "example.com", ""},
		{"another name", "mail.example.com", token},
		{"path in the name", "../example.com", token},
		{"no name", "", token},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				presented, err := issueFrom(t, hostileCA(authorizationFor(test.value, test.token)))
				if len(presented) != 0 {
					t.Errorf("the solver was asked to present it (%v)", err)
				}
				if errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("the order is polled on although it cannot become ready: %v", err)
				}
			})
		})
	}
}

func TestChallengesWithoutAStatusAreAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		accepted := false
		f := hostileCA(strings.Replace(authorizationFor("example.com", "token"), `"status":"pending","token"`, `"token"`, 1))
		f["/challenge"] = func(w http.ResponseWriter, r *http.Request) {
			accepted = true
			answer(200, `{}`)(w, r)
		}
		if _, err := issueFrom(t, f); !accepted {
			t.Errorf("the CA was never told: %v", err)
		}
	})
}

func TestFloods(t *testing.T) {
	for name, change := range map[string]func(f fake){
		"authorizations": func(f fake) {
			f["/newOrder"] = answer(201, `{"status":"pending","authorizations":["/a"`+strings.Repeat(`,"/a"`, 500)+`]}`, "Location", "/order")
		},
		"challenges": func(f fake) {
			f["/authorization"] = answer(200, `{"status":"pending","challenges":[{}`+strings.Repeat(`,{}`, 10_000)+`]}`)
		},
		"links": func(f fake) {
			f["/authorization"] = func(w http.ResponseWriter, r *http.Request) {
				for range 10_000 {
					w.Header().Add("Link", `<https://ca.example/authorization>;rel="next"`)
				}
				answer(404, "")(w, r)
			}
		},
		"subproblems": func(f fake) {
			f["/authorization"] = answer(403, `{"type":"x","subproblems":[{}`+strings.Repeat(`,{"detail":"no"}`, 50_000)+`]}`)
		},
		"nested subproblems": func(f fake) {
			f["/authorization"] = answer(403, strings.Repeat(`{"type":"x","detail":"no","subproblems":[`, 1500)+strings.Repeat(`]}`, 1500))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				f := hostileCA(authorizationFor("example.com", "token"))
				f["/a"] = func(w http.ResponseWriter, r *http.Request) { asked++; answer(404, "")(w, r) }
				change(f)
				presented, _ := issueFrom(t, f)
				if len(presented) > 0 || asked > 0 {
					t.Errorf("%d proofs presented, %d authorizations fetched", len(presented), asked)
				}
			})
		})
	}
}

// All that a CA may send for one order must fit into a modest amount of memory.
func TestMemoryIsBounded(t *testing.T) {
	const count = 40
	padding := strings.Repeat("x", 900_000)
	urls := strings.TrimSuffix(strings.Repeat(`"/authorization",`, count), ",")
	order := `{"status":"pending","identifiers":[{"type":"dns","value":"example.com"}],"authorizations":[` + urls + `]}`
	f := hostileCA("")
	f["/newOrder"] = answer(201, order, "Location", "/order")
	f["/authorization"] = answer(200, strings.Replace(authorizationFor("example.com", "token"), `"token":`, `"error":{"detail":"`+padding+`"},"token":`, 1))
	errEnough := errors.New("enough was seen")
	base, peak := heap(), uint64(0)
	_, err := f.client(t).Issue(t.Context(), acme.Request{
		Identifiers: identifiers(t, "example.com"), Key: newKey(t), Solvers: []acme.Solver{newSolver(acme.TypeHTTP01, nil)},
		Before: func(_ context.Context, s acme.Step) error {
			if s.Action != acme.ActionPresent {
				return nil
			}
			peak = heap()
			runtime.KeepAlive(s)
			return errEnough
		},
	})
	if err == nil {
		t.Fatal("no error")
	}
	if peak > base+(16<<20) {
		t.Errorf("an order for one name holds %d MB in memory", (peak-base)>>20)
	}
}

func heap() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

func TestURLsInErrorsAreBounded(t *testing.T) {
	for name, url := range map[string]string{
		"long":                  "/newOrder/" + strings.Repeat("x", 100_000),
		"characters that lurk":  "/newOrder?\u202e\u009b31m",
		"much that is escaped":  "/newOrder/" + strings.Repeat("\u202e", 30_000),
		"another host, lurking": "https://\u202eelpmaxe.example/newOrder?\u2028",
	} {
		directory, err := json.Marshal(map[string]string{"newNonce": "/newNonce", "newAccount": "/newAccount", "newOrder": url})
		if err != nil {
			t.Fatal(err)
		}
		for i, order := range []http.HandlerFunc{
			answer(200, `<html>`),
			answer(201, `{"status":"pending"}`),
			answer(403, "no"),
			func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		} {
			t.Run(fmt.Sprint(name, i), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { wantPrintableErrors(t, string(directory), order) })
			})
		}
	}
}

// wantPrintableErrors makes a new order where the directory says, and has it answered.
func wantPrintableErrors(t *testing.T, directory string, order http.HandlerFunc) {
	f := fake{"/directory": answer(200, directory)}
	client := f.client(t)
	client.HTTPClient.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
		if strings.HasPrefix(r.URL.Path, "/newOrder") {
			return handlerTransport{order}.RoundTrip(r)
		}
		return handlerTransport{f}.RoundTrip(r)
	})
	_, err := client.NewOrder(t.Context(), acme.OrderRequest{Identifiers: identifiers(t, "example.com")})
	if err == nil {
		t.Fatal("no error")
	}
	wantPrintable(t, err.Error())
}

func TestDirectoryLacksAResource(t *testing.T) {
	for _, lacking := range []string{"newNonce", "newAccount", "newOrder"} {
		urls := map[string]any{"newNonce": "/newNonce", "newAccount": "/newAccount", "newOrder": "/newOrder", "meta": map[string]any{}}
		delete(urls, lacking)
		directory, err := json.Marshal(urls)
		if err != nil {
			t.Fatal(err)
		}
		client := fake{"/directory": answer(200, string(directory))}.client(t)
		_, err = client.GetDirectory(t.Context())
		wantError(t, err, nil, lacking, fakeOrigin+"/directory", "ACME")
	}
}

func TestDirectoryIsFetchedOnceADay(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		directory, err := c.client.GetDirectory(t.Context())
		if err != nil || len(c.requests("directory")) != 0 {
			t.Fatalf("%d requests, error %v", len(c.requests("directory")), err)
		}
		if directory.Meta.TermsOfService == "" || len(directory.Meta.CAAIdentities) == 0 || directory.Meta.ExternalAccountRequired {
			t.Errorf("meta %+v", directory.Meta)
		}
		directory.NewAccount, directory.NewOrder = "https://elsewhere.invalid/", "https://elsewhere.invalid/"
		if _, err := c.client.NewOrder(t.Context(), acme.OrderRequest{Identifiers: identifiers(t, "example.com")}); err != nil {
			t.Errorf("a change of the directory that was returned changes the client: %v", err)
		}
		time.Sleep(25 * time.Hour)
		if _, err := c.client.GetDirectory(t.Context()); err != nil || len(c.requests("directory")) != 1 {
			t.Errorf("after a day: %d requests, error %v", len(c.requests("directory")), err)
		}
	})
}

// finalize may be answered with any status; what is not on the way to a certificate is an error that
// says so.
func TestFinalizeAnswersThatErr(t *testing.T) {
	for status, says := range map[string]string{acme.StatusPending: "pending", acme.StatusReady: "ready", acme.StatusInvalid: "failed", "revoked": "revoked"} {
		inBubble(t, func(t *testing.T, c *ca) {
			c.intercept = func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
				if resourceOf(r) == "finalize" {
					return response(r, 200, fmt.Sprintf(`{"status":%q,"finalize":"/finalize/x"}`, status)), nil
				}
				return next.RoundTrip(r)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			_, err := c.issue(t, ctx, acme.Request{})
			wantError(t, err, nil, says)
			if n := len(c.requests("finalize")); n > 3 {
				t.Errorf("%s: finalized %d times", status, n)
			}
		})
	}
}

// Where the answer to finalize is lost for good, the order itself tells that the CA acted.
func TestFinalizeIsAnsweredWithAnError(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		c.intercept = func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
			resp, err := next.RoundTrip(r)
			if resourceOf(r) == "finalize" && err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				return response(r, 502, "<html>", "Content-Type", "text/html"), nil
			}
			return resp, err
		}
		certificate, err := c.issue(t, t.Context(), acme.Request{})
		if err != nil {
			t.Fatal(err)
		}
		c.wantChain(t, certificate)
		if len(c.Certificates()) != 1 || len(c.Orders()) != 1 {
			t.Errorf("%d certificates of %d orders", len(c.Certificates()), len(c.Orders()))
		}
	})
}

// A request to finalize that the CA cannot take is no reason to lose what it said.
func TestFinalizeIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		var finalized atomic.Int32
		c.intercept = func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
			if resourceOf(r) == "finalize" {
				finalized.Add(1)
				return response(r, 429, problem("rateLimited", "too many certificates"), "Retry-After", "7200"), nil
			}
			return next.RoundTrip(r)
		}
		_, err := c.issue(t, t.Context(), acme.Request{})
		wantError(t, err, acme.ErrRateLimited, "too many certificates")
		var failed *acme.OrderError
		if errors.As(err, &failed) {
			t.Errorf("error %v; the order can be gone on with when the limit is over", err)
		}
		if finalized.Load() != 1 {
			t.Errorf("finalized %d times", finalized.Load())
		}
	})
}

// A key that x509 cannot make a request with is the caller's error, and costs no certificate.
func TestCertificateKeyThatCannotSign(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		_, err := c.issue(t, t.Context(), acme.Request{Key: failingSigner{newKey(t)}})
		wantError(t, err, errOffline, "certificate request")
		if len(c.requests("finalize")) > 0 {
			t.Error("the order was finalized")
		}
		var invalid x509.CertificateInvalidError
		if errors.As(err, &invalid) {
			t.Errorf("error %v", err)
		}
	})
}
