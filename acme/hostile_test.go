package acme_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
)

// A badAnswer is what a CA that errs, or means ill, answers with.
type badAnswer struct {
	name    string
	fault   func(s *scene) acmetest.Fault
	refuses bool // no call can take it for success
	acted   bool // the CA has done what it was asked for
}

// badAnswers returns answers that no call which reads them can do with.
func badAnswers() []badAnswer {
	const escape = "\x1b[31m\u202e"
	inPlace := func(handler http.HandlerFunc) func(*scene) acmetest.Fault {
		return func(*scene) acmetest.Fault { return func(http.Handler) http.Handler { return handler } }
	}
	of := func(fault acmetest.Fault) func(*scene) acmetest.Fault {
		return func(*scene) acmetest.Fault { return fault }
	}
	return []badAnswer{
		{"HTML", of(acmetest.Answer(200, "text/html", "<html>"+escape)), false, false},
		{"empty", inPlace(answer(200, "")), false, false},
		{"nothing", inPlace(answer(204, "")), false, false},
		{"an array", inPlace(answer(200, "[7]")), false, false},
		{"a string", inPlace(answer(200, `"`+strings.Repeat("x", 1<<19)+`"`)), false, false},
		{"half", inPlace(answer(200, `{"status":"va`)), false, false},
		{"deep", inPlace(answer(200, strings.Repeat(`{"status":`, 100_000))), false, false},
		{"wrong types", inPlace(answer(200, `{"status":{},"newNonce":1,"identifiers":"x","authorizations":{},"challenges":7,"url":[],"orders":{}}`, "Location", "/x")), false, false},
		{"a long date", inPlace(answer(200, `{"newNonce":[],"status":7,"orders":7,"expires":"`+strings.Repeat("9", 1<<19)+`"}`, "Location", "/x")), false, false},
		{"a bad date", inPlace(answer(200, `{"newNonce":[],"status":7,"orders":7,"expires":"\u001b[31m\u202e","challenges":[{"validated":"x"}]}`, "Location", "/x")), false, false},
		{"an odd status", inPlace(answer(200, `{"status":"\u001b[31m","token":7,"identifier":"x","orders":["https://[::1"],"contact":7,"challenges":[{"url":"https://[::1"}]}`, "Location", "https://[::1")), false, false},
		{"a redirect", inPlace(answer(302, "", "Location", "/elsewhere")), true, false},
		{"a bad redirect", inPlace(answer(302, "", "Location", "http://\x7f")), true, false},
		{"a redirect in circles", inPlace(func(w http.ResponseWriter, r *http.Request) { answer(307, "", "Location", r.URL.Path)(w, r) }), true, false},
		{"no redirect", inPlace(answer(304, "")), true, false},
		{"refused", inPlace(answer(403, `{"detail":"\u001b[31m\u202e","type":"\u0000","identifier":{"value":"\u0007"}}`)), true, false},
		{"gone", inPlace(answer(404, escape)), true, false},
		{"failed", inPlace(answer(500, strings.Repeat(escape, 10_000))), true, false},
		{"an odd code", inPlace(answer(999, "")), true, false},
		{"a wrong code", inPlace(answer(101, "")), false, false},
		{"unauthorized", func(s *scene) acmetest.Fault { return s.Problem(403, "unauthorized", "no, "+escape) }, true, false},
		{"busy", of(acmetest.Answer(503, "text/html", "<html>")), true, false},
		{"a far Retry-After", inPlace(answer(503, "", "Retry-After", "99999999999")), true, false},
		{"a hot Retry-After", inPlace(answer(503, "", "Retry-After", "0")), true, false},
		{"a rate limit", func(s *scene) acmetest.Fault { return s.RateLimited("30") }, true, false},
		{"a rate limit until soon", func(s *scene) acmetest.Fault { return s.RateLimited("1") }, true, false},
		{"a rate limit until long ago", func(s *scene) acmetest.Fault { return s.RateLimited("Sat, 01 Jan 2000 00:00:00 GMT") }, true, false},
		{"a rate limit until whenever", func(s *scene) acmetest.Fault { return s.RateLimited("whenever" + escape) }, true, false},
		{"a rate limit without end", func(s *scene) acmetest.Fault { return s.RateLimited("") }, true, false},
		{"bad nonces", func(s *scene) acmetest.Fault { return s.BadNonce() }, true, false},
		{"one nonce for all", inPlace(answer(400, problem("badNonce", "no"), "Replay-Nonce", "x")), true, false},
		{"cut", of(acmetest.Cut()), true, false},
		{"cut after it acted", of(acmetest.CutAnswer()), true, true},
		{"cut in the body", of(acmetest.CutBody()), true, true},
		{"silence", of(acmetest.Delay(24 * time.Hour)), true, false},
		{"silence after it acted", of(acmetest.DelayAnswer(24 * time.Hour)), true, false},
		{"a gigabyte", of(acmetest.Oversized(1 << 30)), false, true},
		{"a gigabyte of refusal", of(func(next http.Handler) http.Handler {
			return acmetest.Oversized(1 << 30)(answer(500, "no"))
		}), true, false},
	}
}

// TestHostileAnswers gives each call each bad answer. Its error comes within the deadline, says what was
// asked for and can be logged; and neither the time, the requests nor the memory that it takes are without
// bounds. In a bubble a call that hangs or leaves a goroutine makes the test fail.
func TestHostileAnswers(t *testing.T) {
	for _, call := range calls(t) {
		t.Run(fmt.Sprint(call.name, " at ", call.resource), func(t *testing.T) {
			for _, bad := range badAnswers() {
				if bad.name == "bad nonces" && call.unsigned() {
					continue
				}
				t.Run(bad.name, func(t *testing.T) {
					inScene(t, call, func(t *testing.T, s *scene) {
						s.SetFaults(call.fault(bad.fault(s)))
						s.giveFault(t, call, (bad.refuses || !call.bodiless) && !(bad.acted && call.recovers))
					})
				})
			}
		})
	}
}

// giveFault makes the call, which must fail or may fail.
func (s *scene) giveFault(t *testing.T, call call, must bool) {
	t.Helper()
	const deadline, maxBytes, maxRequests = 5 * time.Minute, 12 << 20, 100
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	began, allocated := time.Now(), allocations()
	err := call.do(ctx, s)
	if took := time.Since(began); took > deadline {
		t.Errorf("it took %v, more than the %v it was given", took, deadline)
	}
	if got := allocations() - allocated; got > maxBytes {
		t.Errorf("%d MB were allocated", got>>20)
	}
	if n := len(s.requests("")); n > maxRequests {
		t.Errorf("%d requests were made", n)
	}
	if err == nil {
		if must {
			t.Error("no error")
		}
		return
	}
	wantPrintable(t, err.Error())
	if strings.Count(err.Error(), "acme: ") != 1 || !strings.Contains(err.Error(), call.says) {
		t.Errorf("error %q does not say %q, or the package not just once", err, call.says)
	}
}

// TestGigabytesOverASocket answers each call with a gigabyte where a body is streamed by http.Transport.
func TestGigabytesOverASocket(t *testing.T) {
	c := startCA(t, func(*acmetest.Server) {}, (*acmetest.Server).Start)
	if _, err := c.client.Register(t.Context(), acme.Registration{AgreeToTerms: true}); err != nil {
		t.Fatal(err)
	}
	s := &scene{ca: c, key: newKey(t)}
	for _, call := range calls(t) {
		for _, status := range []int{200, 403} {
			t.Run(fmt.Sprint(call.name, " at ", call.resource, " with ", status), func(t *testing.T) {
				s.SetFaults()
				s.prepare(t, call)
				s.SetFaults(call.fault(func(http.Handler) http.Handler {
					return acmetest.Oversized(1 << 30)(answer(status, `{"status":"valid"}`))
				}))
				s.giveFault(t, call, call.resource != "newNonce")
			})
		}
	}
}

// TestWhatClientsBear has calls succeed though the CA, or what stands before it, is odd.
func TestWhatClientsBear(t *testing.T) {
	for name, fault := range map[string]func(s *scene) acmetest.Fault{
		"half of the nonces are bad": func(s *scene) acmetest.Fault { return acmetest.Share(0.5, s.BadNonce()) },
		"nineteen bad nonces":        func(s *scene) acmetest.Fault { return acmetest.Next(19, s.BadNonce()) },
		"no nonce":                   func(*scene) acmetest.Fault { return acmetest.WithoutHeader("Replay-Nonce") },
		"a malformed nonce":          func(*scene) acmetest.Fault { return acmetest.WithHeader("Replay-Nonce", "no nonce") },
		"relative URLs":              func(*scene) acmetest.Fault { return acmetest.RelativeURLs() },
		"the wrong type":             func(*scene) acmetest.Fault { return acmetest.WithHeader("Content-Type", "text/html") },
		"no type":                    func(*scene) acmetest.Fault { return acmetest.WithoutHeader("Content-Type") },
		"slow":                       func(*scene) acmetest.Fault { return acmetest.Delay(20 * time.Second) },
		"slow answers":               func(*scene) acmetest.Fault { return acmetest.DelayAnswer(20 * time.Second) },
		"busy twice":                 func(s *scene) acmetest.Fault { return acmetest.Next(2, s.RateLimited("10")) },
		"spaces after the body":      func(*scene) acmetest.Fault { return acmetest.Oversized(32 << 10) },
		"links that lead nowhere": func(*scene) acmetest.Fault {
			return acmetest.WithHeader("Link", `<>;rel="up", <https://[::1>;rel="alternate", <`)
		},
		"a Retry-After for no purpose": func(*scene) acmetest.Fault { return acmetest.WithHeader("Retry-After", "1") },
		"a Retry-After long ago": func(*scene) acmetest.Fault {
			return acmetest.WithHeader("Retry-After", "Thu, 01 Jan 1970 00:00:00 GMT")
		},
	} {
		for _, call := range calls(t) {
			if strings.Contains(name, "nonce") && call.unsigned() {
				continue
			}
			t.Run(name+"/"+fmt.Sprint(call.name, " at ", call.resource), func(t *testing.T) {
				inScene(t, call, func(t *testing.T, s *scene) {
					s.SetFaults(call.fault(fault(s)))
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
					defer cancel()
					if err := call.do(ctx, s); err != nil {
						t.Error(err)
					}
					s.wantFreshNonces(t)
				})
			})
		}
	}
}

// allocations returns how many bytes were ever allocated, by the CA too.
func allocations() uint64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.TotalAlloc
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
			t.Errorf("error %v; the order can be resumed when the limit is over", err)
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
