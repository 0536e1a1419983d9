package acmetest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme/acmetest"
)

// everywhere runs a test against a CA on a socket and against one in memory.
func everywhere(t *testing.T, test func(t *testing.T, ca *acmetest.Server)) {
	t.Helper()
	t.Run("socket", func(t *testing.T) {
		ca := acmetest.NewServer()
		defer ca.Close()
		test(t, ca)
	})
	t.Run("memory", func(t *testing.T) { test(t, inMemory(t)) })
}

// try sends a request that need not be answered, and returns what there is of an answer: the body is
// closed unread.
func (c *client) try(ctx context.Context, url string, payload any) (*http.Response, error) {
	c.t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(string(c.sign(url, payload, nil))))
	if err != nil {
		c.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/jose+json")
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	c.t.Cleanup(func() { _ = response.Body.Close() })
	if nonce := response.Header.Get("Replay-Nonce"); nonce != "" {
		c.nonce = nonce
	}
	return response, nil
}

// statuses returns the statuses of n requests for the directory.
func (c *client) statuses(directory string, n int) (statuses []int) {
	c.t.Helper()
	for range n {
		statuses = append(statuses, c.get(directory).status)
	}
	return statuses
}

func TestSelectors(t *testing.T) {
	busy, gone := acmetest.Answer(503, "text/html", "<h1>Busy</h1>"), acmetest.Answer(410, "text/plain", "gone")
	for _, test := range []struct {
		name   string
		faults []acmetest.Fault
		want   []int
	}{
		{"none", nil, []int{200, 200}},
		{"always", []acmetest.Fault{busy}, []int{503, 503}},
		{"the first is outermost", []acmetest.Fault{busy, gone}, []int{503}},
		{"next", []acmetest.Fault{acmetest.Next(2, busy)}, []int{503, 503, 200, 200}},
		{"next of next", []acmetest.Fault{acmetest.Next(2, busy), acmetest.Next(1, gone)}, []int{503, 503, 410, 200}},
		{"next none", []acmetest.Fault{acmetest.Next(0, busy)}, []int{200}},
		{"on", []acmetest.Fault{acmetest.On("directory", busy)}, []int{503}},
		{"on another", []acmetest.Fault{acmetest.On("newOrder", busy)}, []int{200}},
		{"half", []acmetest.Fault{acmetest.Share(0.5, busy)}, []int{200, 503, 200, 503}},
		{"a third", []acmetest.Fault{acmetest.Share(1.0/3, busy)}, []int{200, 200, 503, 200, 200, 503}},
		{"seven tenths", []acmetest.Fault{acmetest.Share(0.7, busy)}, []int{200, 503, 503, 200, 503, 503, 200, 503, 503, 503}},
		{"a 49th, which has no exact float64", []acmetest.Fault{acmetest.Share(1.0/49, busy)}, append(slices.Repeat([]int{200}, 48), 503)},
		{"all", []acmetest.Fault{acmetest.Share(1, busy)}, []int{503, 503}},
		{"nothing", []acmetest.Fault{acmetest.Share(0, busy)}, []int{200, 200}},
		{"all of them", []acmetest.Fault{acmetest.Next(1, acmetest.All(acmetest.Next(1, gone), acmetest.Next(1, busy))), acmetest.All()}, []int{410, 200}},
		{"composed", []acmetest.Fault{acmetest.On("directory", acmetest.Next(2, acmetest.Share(0.5, busy)))}, []int{200, 503, 200, 200}},
	} {
		t.Run(test.name, func(t *testing.T) {
			ca := inMemory(t)
			c := newClient(t, ca)
			for range 2 { // a recipe counts anew each time
				ca.SetFaults(test.faults...)
				if got := c.statuses(ca.URL, len(test.want)); !slices.Equal(got, test.want) {
					t.Errorf("statuses %v, want %v", got, test.want)
				}
			}
			ca.SetFaults()
			c.get(ca.URL).want(http.StatusOK, "")
		})
	}
}

func TestNextOnCountsTheResource(t *testing.T) {
	ca := inMemory(t)
	c := newClient(t, ca)
	ca.SetFaults(acmetest.On("newNonce", acmetest.Next(1, acmetest.Answer(503, "text/html", ""))))
	c.get(ca.URL).want(http.StatusOK, "")
	c.get(c.resource("newNonce")).want(http.StatusServiceUnavailable, "")
	c.get(c.resource("newNonce")).want(http.StatusNoContent, "")
	if got := ca.Requests()["newNonce"]; got != 2 {
		t.Errorf("%d requests counted, want those that went wrong too: 2", got)
	}
}

func TestOnUnknownResourcePanics(t *testing.T) {
	acmetest.On("other", acmetest.Cut())
	defer func() {
		if got := fmt.Sprint(recover()); !strings.Contains(got, `"newCert"`) {
			t.Errorf("panic %q", got)
		}
	}()
	acmetest.On("newCert", acmetest.Cut())
}

// Faults can be set before the start.
func TestFaultsBeforeStart(t *testing.T) {
	ca := acmetest.NewUnstartedServer()
	defer ca.Close()
	ca.SetFaults(acmetest.Next(1, acmetest.Answer(503, "text/html", "")))
	ca.StartInMemory()
	c := &client{t: t, http: ca.Client()}
	if got := c.statuses(ca.URL, 2); !slices.Equal(got, []int{503, 200}) {
		t.Errorf("statuses %v", got)
	}
}

// What answers in the CA's place is no CA: it neither acts nor gives out nonces.
func TestAnswer(t *testing.T) {
	everywhere(t, func(t *testing.T, ca *acmetest.Server) {
		c := newAccount(t, ca)
		ca.SetFaults(acmetest.Answer(503, "text/html", "<h1>Busy</h1>"))
		a := c.post(c.resource("newOrder"), map[string]any{"identifiers": identify("example.com")}).want(503, "")
		if string(a.body) != "<h1>Busy</h1>" || a.header.Get("Content-Type") != "text/html" {
			t.Errorf("%q of type %q", a.body, a.header.Get("Content-Type"))
		}
		if a.header.Get("Replay-Nonce") != "" || a.header.Get("Link") != "" {
			t.Errorf("headers of a CA: %v", a.header)
		}
		if got := len(ca.Orders()); got != 0 {
			t.Errorf("%d orders, want none", got)
		}
	})
}

func TestEdit(t *testing.T) {
	everywhere(t, func(t *testing.T, ca *acmetest.Server) {
		c := newAccount(t, ca)
		ca.SetFaults(
			acmetest.WithHeader("X-Order", "outer"),
			acmetest.Edit(func(r *acmetest.Response) {
				r.Header.Set("X-Order", "inner")
				if r.Status == http.StatusCreated {
					r.Status, r.Body = http.StatusAccepted, []byte(`{"status":"odd"}`)
				}
			}),
			acmetest.WithoutHeader("Location"),
			acmetest.WithoutHeader("Content-Type"),
			acmetest.WithoutHeader("Date"),
		)
		a := c.post(c.resource("newOrder"), map[string]any{"identifiers": identify("example.com")}).want(http.StatusAccepted, "")
		if string(a.body) != `{"status":"odd"}` || a.header.Get("X-Order") != "outer" {
			t.Errorf("%q with the headers %v", a.body, a.header)
		}
		for _, name := range []string{"Location", "Content-Type", "Date"} {
			if _, ok := a.header[name]; ok {
				t.Errorf("%s: %q", name, a.header.Get(name))
			}
		}
		if a.header.Get("Replay-Nonce") == "" || len(ca.Orders()) != 1 {
			t.Errorf("the CA has not acted: %v", a.header)
		}
	})
}

// A length that a handler behind has told is that of the body as it is sent.
func TestEditKeepsNoLength(t *testing.T) {
	everywhere(t, func(t *testing.T, ca *acmetest.Server) {
		c := newAccount(t, ca)
		ca.SetFaults(
			acmetest.Edit(func(r *acmetest.Response) { r.Body = append(r.Body, "  "...) }),
			acmetest.Edit(func(r *acmetest.Response) { r.Header.Set("Content-Length", strconv.Itoa(len(r.Body))) }),
		)
		a := c.get(ca.URL).want(http.StatusOK, "")
		if !strings.HasSuffix(string(a.body), "}  ") {
			t.Errorf("the body is %q", a.body)
		}
	})
}

func TestRelativeURLs(t *testing.T) {
	everywhere(t, func(t *testing.T, ca *acmetest.Server) {
		c := newAccount(t, ca)
		ca.SetFaults(acmetest.RelativeURLs())
		host := strings.TrimSuffix(ca.URL, "/directory")
		directory := c.get(ca.URL)
		if body := string(directory.body); strings.Contains(body, host) || !strings.Contains(body, `"newOrder":"/newOrder"`) {
			t.Errorf("directory %s", body)
		}
		a := c.post(c.resource("newOrder"), map[string]any{"identifiers": identify("example.com")}).want(http.StatusCreated, "")
		if location := a.header.Get("Location"); !strings.HasPrefix(location, "/order/") {
			t.Errorf("Location %s", location)
		}
		if link := a.header.Get("Link"); link != `</directory>;rel="index"` {
			t.Errorf("Link %s", link)
		}
		if body := string(a.body); strings.Contains(body, host) || !strings.Contains(body, `"/authorization/`) || !strings.Contains(body, `"/finalize/`) {
			t.Errorf("order %s", body)
		}
	})
}

// The body is as long as it is said to be, and its beginning is the CA's.
func TestOversized(t *testing.T) {
	const more = 5 << 20
	everywhere(t, func(t *testing.T, ca *acmetest.Server) {
		c := newClient(t, ca)
		well := c.get(ca.URL)
		// A fault that edits, further out, does not hold the body back.
		ca.SetFaults(acmetest.WithHeader("Content-Type", "text/html"), acmetest.Oversized(more))
		a := c.get(ca.URL).want(http.StatusOK, "")
		if want := len(well.body) + more; len(a.body) != want {
			t.Errorf("%d bytes, want %d", len(a.body), want)
		}
		if !strings.HasPrefix(string(a.body), string(well.body)) || strings.Trim(string(a.body[len(well.body):]), " ") != "" {
			t.Error("the body is not the CA's with spaces after it")
		}
		if got := a.header.Get("Content-Type"); got != "text/html" {
			t.Errorf("Content-Type %s", got)
		}
	})
}

// Of a gigabyte no more is made than the client reads, and a client that stops reading leaves nothing
// behind: Close returns.
func TestOversizedIsStreamed(t *testing.T) {
	everywhere(t, func(t *testing.T, ca *acmetest.Server) {
		ended := make(chan struct{})
		ca.SetFaults(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer close(ended)
				next.ServeHTTP(w, r)
			})
		}, acmetest.Edit(func(*acmetest.Response) {}), acmetest.Oversized(1<<40))
		response, err := ca.Client().Get(ca.URL)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.CopyN(io.Discard, response.Body, 3<<20); err != nil {
			t.Fatalf("%v after %d bytes", err, n)
		}
		if err := response.Body.Close(); err != nil {
			t.Error(err)
		}
		<-ended // a terabyte would take longer than the test may
	})
}

// Close ends a body that nobody reads on.
func TestCloseEndsUnreadBody(t *testing.T) {
	everywhere(t, func(t *testing.T, ca *acmetest.Server) {
		ca.SetFaults(acmetest.Oversized(1 << 40))
		response, err := ca.Client().Get(ca.URL)
		if err != nil {
			t.Fatal(err)
		}
		ca.Close()
		if _, err := io.Copy(io.Discard, response.Body); err == nil {
			t.Error("the body is complete")
		}
		_ = response.Body.Close()
	})
}

// A body ends with the context of its request; and the connection does, for it is not complete.
func TestContextEndsBody(t *testing.T) {
	everywhere(t, func(t *testing.T, ca *acmetest.Server) {
		reasons := make(chan any, 1)
		ca.SetFaults(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer func() {
					reason := recover()
					reasons <- reason
					if reason != nil {
						panic(reason)
					}
				}()
				next.ServeHTTP(w, r)
			})
		}, acmetest.Oversized(1<<40))
		ctx, cancel := context.WithCancel(t.Context())
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, ca.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := ca.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		cancel()
		if _, err := io.Copy(io.Discard, response.Body); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want that the context is cancelled", err)
		}
		if reason := <-reasons; reason != http.ErrAbortHandler {
			t.Errorf("the handler ended with %v, want that it was aborted", reason)
		}
	})
}

// A client that closes a body before its end is seen to go away.
func TestClosedBodyEndsRequest(t *testing.T) {
	everywhere(t, func(t *testing.T, ca *acmetest.Server) {
		ended := make(chan struct{})
		ca.SetFaults(func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if err := http.NewResponseController(w).Flush(); err != nil {
					t.Error(err)
				}
				<-r.Context().Done()
				close(ended)
			})
		})
		response, err := ca.Client().Get(ca.URL)
		if err != nil {
			t.Fatal(err)
		}
		if err := response.Body.Close(); err != nil {
			t.Error(err)
		}
		<-ended
	})
}

func TestCut(t *testing.T) {
	for _, test := range []struct {
		name   string
		fault  acmetest.Fault
		orders int // that the CA has made
	}{
		{"before", acmetest.Cut(), 0},
		{"after", acmetest.CutAnswer(), 1},
		{"after, seen through another", func(next http.Handler) http.Handler {
			return acmetest.WithHeader("X", "y")(acmetest.CutAnswer()(next))
		}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			everywhere(t, func(t *testing.T, ca *acmetest.Server) {
				c := newAccount(t, ca)
				ca.SetFaults(acmetest.On("newOrder", acmetest.Next(1, test.fault)))
				payload := map[string]any{"identifiers": identify("example.com")}
				if response, err := c.try(t.Context(), c.resource("newOrder"), payload); err == nil {
					t.Errorf("status %d, want no answer", response.StatusCode)
				}
				if got := len(ca.Orders()); got != test.orders {
					t.Errorf("%d orders, want %d", got, test.orders)
				}
				c.post(c.resource("newOrder"), payload).want(http.StatusCreated, "")
			})
		})
	}
}

func TestCutBody(t *testing.T) {
	for _, around := range []acmetest.Fault{
		func(next http.Handler) http.Handler { return next },
		acmetest.WithHeader("X", "y"),
	} {
		everywhere(t, func(t *testing.T, ca *acmetest.Server) {
			c := newAccount(t, ca)
			ca.SetFaults(around, acmetest.CutBody())
			response, err := c.try(t.Context(), c.resource("newOrder"), map[string]any{"identifiers": identify("example.com")})
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(response.Body)
			if !errors.Is(err, io.ErrUnexpectedEOF) || len(body) == 0 || int64(len(body)) != response.ContentLength/2 {
				t.Errorf("%v after %d bytes of %d", err, len(body), response.ContentLength)
			}
			if response.StatusCode != http.StatusCreated || len(ca.Orders()) != 1 {
				t.Errorf("status %d, %d orders", response.StatusCode, len(ca.Orders()))
			}
		})
	}
}

func TestDelay(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault acmetest.Fault
		early int // orders while the client waits
		gone  int // orders where the client does not wait
	}{
		{"before", acmetest.Delay(time.Minute), 0, 0},
		{"after", acmetest.DelayAnswer(time.Minute), 1, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ca := inMemory(t)
				c := newAccount(t, ca)
				payload := map[string]any{"identifiers": identify("example.com")}
				ca.SetFaults(acmetest.On("newOrder", test.fault))
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if _, err := c.try(ctx, c.resource("newOrder"), payload); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("error %v, want that the deadline is exceeded", err)
				}
				time.Sleep(time.Hour)
				if got := len(ca.Orders()); got != test.gone {
					t.Errorf("%d orders for a client that has gone away, want %d", got, test.gone)
				}
				began := time.Now()
				go func() {
					time.Sleep(30 * time.Second)
					if got := len(ca.Orders()) - test.gone; got != test.early {
						t.Errorf("%d orders during the delay, want %d", got, test.early)
					}
				}()
				c.post(c.resource("newOrder"), payload).want(http.StatusCreated, "")
				if took := time.Since(began); took != time.Minute {
					t.Errorf("the answer took %v", took)
				}
			})
		})
	}
}

// On a socket, too, a client that goes away ends the delay.
func TestDelayEndsWithItsClient(t *testing.T) {
	for _, fault := range []acmetest.Fault{acmetest.Delay(time.Hour), acmetest.DelayAnswer(time.Hour)} {
		everywhere(t, func(t *testing.T, ca *acmetest.Server) {
			c := newAccount(t, ca)
			c.get(c.resource("newNonce")) // a nonce at hand
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			ca.SetFaults(func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					defer close(ended)
					cancel()
					next.ServeHTTP(w, r)
				})
			}, fault)
			if _, err := c.try(ctx, c.resource("newOrder"), map[string]any{"identifiers": identify("example.com")}); !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, want that the context is cancelled", err)
			}
			<-ended
		})
	}
}
