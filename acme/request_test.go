package acme_test

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
)

func TestAnswersThatNeverCome(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		c.forget()
		c.intercept = func(*http.Request, http.RoundTripper) (*http.Response, error) { return nil, errCut }
		start := time.Now()
		_, err := c.client.NewOrder(t.Context(), acme.OrderRequest{Identifiers: identifiers(t, "example.com")})
		wantError(t, err, errCut)
		if n := len(c.requests("")); n != 3 || time.Since(start) > 10*time.Second {
			t.Errorf("gave up after %d tries and %v, want 3 within seconds", n, time.Since(start))
		}

		c.intercept = func(r *http.Request, _ http.RoundTripper) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start = time.Now()
		_, err = c.client.GetOrder(ctx, c.URL)
		wantError(t, err, context.DeadlineExceeded)
		if took := time.Since(start); took != time.Minute {
			t.Errorf("a silent CA was given up after %v, want the minute that the context had", took)
		}
	})
}

func TestRetryAfterOfARefusal(t *testing.T) {
	for _, test := range []struct {
		name       string
		status     int
		retryAfter string
		deadline   time.Duration // zero: none
		tries      int           // each of which would be refused but the third
		took       time.Duration
		asked      time.Duration // RetryAfter of the problem; zero: no error
	}{
		{"503 soon", 503, "1", 0, 3, 2 * time.Second, 0},
		{"429 soon", 429, "10", 0, 3, 20 * time.Second, 0},
		{"a date", 503, "Sat, 01 Jan 2000 00:00:05 GMT", 0, 2, 5 * time.Second, 0},
		{"an hour", 503, "3600", 0, 1, 0, time.Hour},
		{"429 an hour", 429, "3600", 0, 1, 0, time.Hour},
		{"beyond the deadline", 503, "5", 3 * time.Second, 1, 0, 5 * time.Second},
		{"none", 503, "", 0, 1, 0, 0},
		{"zero", 503, "0", 0, 1, 0, 0},
		{"client's fault", 403, "1", 0, 1, 0, time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries, start := 0, time.Now()
				f := fake{"/order": func(w http.ResponseWriter, r *http.Request) {
					tries++
					if test.asked == 0 && test.took > 0 && time.Since(start) >= test.took {
						answer(http.StatusOK, `{"status":"ready"}`)(w, r)
						return
					}
					if test.retryAfter != "" {
						w.Header().Set("Retry-After", test.retryAfter)
					}
					answer(test.status, problem("serverInternal", "not now"))(w, r)
				}}
				client := f.client(t)
				client.AccountURL = fakeOrigin + "/account/1"
				ctx := t.Context()
				if test.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, test.deadline)
					defer cancel()
				}
				_, err := client.GetOrder(ctx, fakeOrigin+"/order")
				if tries != test.tries || time.Since(start) != test.took {
					t.Errorf("%d tries in %v, want %d in %v", tries, time.Since(start), test.tries, test.took)
				}
				if test.took > 0 {
					if err != nil {
						t.Error(err)
					}
					return
				}
				wantError(t, err, acme.ErrServerInternal, "not now")
				var refusal *acme.Problem
				if !errors.As(err, &refusal) || refusal.RetryAfter != test.asked || refusal.Status != test.status {
					t.Errorf("problem %+v, want RetryAfter %v", refusal, test.asked)
				}
			})
		})
	}
}

func TestRedirects(t *testing.T) {
	mux := http.NewServeMux()
	server := httptest.NewTLSServer(mux)
	defer server.Close()
	posts := 0
	mux.HandleFunc("/directory", http.RedirectHandler("/v2/directory", http.StatusMovedPermanently).ServeHTTP)
	mux.HandleFunc("/v2/directory", answer(200, `{"newNonce":"newNonce","newAccount":"newAccount","newOrder":"newOrder"}`))
	mux.HandleFunc("/v2/newNonce", answer(200, "", "Replay-Nonce", "nonce"))
	mux.HandleFunc("/v2/newAccount", http.RedirectHandler("/elsewhere", http.StatusTemporaryRedirect).ServeHTTP)
	mux.HandleFunc("/elsewhere", func(w http.ResponseWriter, r *http.Request) { posts++ })
	mux.HandleFunc("/loop", http.RedirectHandler("/loop", http.StatusFound).ServeHTTP)
	mux.HandleFunc("/plain", http.RedirectHandler("http://127.0.0.1:1/directory", http.StatusFound).ServeHTTP)
	client := func(path string) *acme.Client {
		return &acme.Client{DirectoryURL: server.URL + path, HTTPClient: server.Client(), Key: newKey(t)}
	}
	directory, err := client("/directory").GetDirectory(t.Context())
	if err != nil || directory.NewOrder != server.URL+"/v2/newOrder" {
		t.Errorf("directory %+v, error %v: relative URLs go from where the redirect led", directory, err)
	}
	_, err = client("/v2/directory").FindAccount(t.Context())
	wantError(t, err, nil, "307")
	if posts != 0 {
		t.Error("a signed request was redirected")
	}
	_, err = client("/loop").GetDirectory(t.Context())
	wantError(t, err, nil, "redirected more than")
	_, err = client("/plain").GetDirectory(t.Context())
	wantError(t, err, nil, "https")
}

func TestURLsMustBeOfHTTPS(t *testing.T) {
	for _, url := range []string{
		"http://ca.example/directory", "http://127.0.0.1.example/directory", "ftp://ca.example/", "file:///etc/passwd",
		"ca.example/directory", "/directory", "https://", "https:///directory", "https://user:secret@ca.example/", "https://ca.example/\x1b[31m",
		"http://[::1]example/", "http://localhost.example/directory",
	} {
		client := &acme.Client{DirectoryURL: url, Key: newKey(t), HTTPClient: &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
			t.Errorf("%s was asked", url)
			return nil, errCut
		})}}
		_, err := client.GetDirectory(t.Context())
		wantError(t, err, nil, "URL")
		if strings.Contains(err.Error(), "\x1b") {
			t.Errorf("the error %q has a control character", err)
		}
	}
}

func TestPlainHTTPOnLoopback(t *testing.T) {
	server := httptest.NewServer(fake{})
	defer server.Close()
	client := &acme.Client{DirectoryURL: server.URL + "/directory", Key: newKey(t)}
	if _, err := client.FindAccount(t.Context()); err != nil {
		t.Error(err)
	}
	_, err := client.GetOrder(t.Context(), "http://ca.example/order/1")
	wantError(t, err, nil, "https")

	secure := fake{}.client(t)
	secure.AccountURL = fakeOrigin + "/account/1"
	_, err = secure.GetOrder(t.Context(), server.URL+"/order/1")
	wantError(t, err, nil, "https")
}

func TestRelativeURLs(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		origin := strings.TrimSuffix(c.URL, "/directory")
		c.client = &acme.Client{DirectoryURL: c.URL, HTTPClient: c.client.HTTPClient, Key: c.client.Key}
		c.intercept = func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
			resp, err := next.RoundTrip(r)
			if err != nil {
				return nil, err
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body = io.NopCloser(strings.NewReader(strings.ReplaceAll(string(body), `"`+origin, `"`)))
			if location := resp.Header.Get("Location"); location != "" {
				resp.Header.Set("Location", strings.TrimPrefix(location, origin))
			}
			return resp, err
		}
		if _, err := c.issue(t, t.Context(), acme.Request{}); err != nil {
			t.Error(err)
		}
	})
}

func TestLargeAnswers(t *testing.T) {
	large := strings.Repeat(" ", 2<<20)
	bomb := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		zipped := gzip.NewWriter(w)
		defer zipped.Close()
		for range 2 {
			if _, err := io.WriteString(zipped, large); err != nil {
				return
			}
		}
	}
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		says    string
	}{
		"a body":    {answer(200, large), "larger than"},
		"a refusal": {answer(500, large), "500"},
		"zipped":    {bomb, "larger than"},
		"without an end": {func(w http.ResponseWriter, r *http.Request) {
			for {
				if _, err := io.WriteString(w, large); err != nil {
					return
				}
			}
		}, "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewTLSServer(test.handler)
			defer server.Close()
			client := &acme.Client{DirectoryURL: server.URL, HTTPClient: server.Client(), Key: newKey(t)}
			_, err := client.GetDirectory(t.Context())
			wantError(t, err, nil, test.says)
			wantPrintable(t, err.Error())
		})
	}
}

// What an answer may hold is for the client to say, not for its Content-Type.
func TestLargeAnswersThatSayTheyAreChains(t *testing.T) {
	large := `{"status":"pending","challenges":[{"token":"` + strings.Repeat("a", 900_000) + `"}]}`
	client := fake{"/authorization": answer(200, large, "Content-Type", "application/pem-certificate-chain")}.client(t)
	client.AccountURL = fakeOrigin + "/account/1"
	_, err := client.GetAuthorization(t.Context(), fakeOrigin+"/authorization")
	wantError(t, err, nil, "larger than")
}

func TestUntrustedServer(t *testing.T) {
	asked := 0
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	connections := 0
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections++
		}
	}
	server.StartTLS()
	_, err := (&acme.Client{DirectoryURL: server.URL, Key: newKey(t)}).GetDirectory(t.Context())
	server.Close()
	wantError(t, err, nil, "certificate")
	if asked != 0 || connections != 1 {
		t.Errorf("%d connections: a certificate that is not trusted is not tried again", connections)
	}
}

// RoundTrippers of users, fakes most of all, may leave out what request an answer belongs to.
func TestAnswersWithoutTheirRequest(t *testing.T) {
	client := fake{}.client(t)
	next := client.HTTPClient.Transport
	client.HTTPClient.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if err == nil {
			resp.Request = nil
		}
		return resp, err
	})
	if _, err := client.FindAccount(t.Context()); err != nil {
		t.Error(err)
	}
}

// The context ends a call whose answer has begun and does not end.
func TestUnfinishedAnswers(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"newNonce":`)
		_ = http.NewResponseController(w).Flush()
		cancel()
		<-r.Context().Done()
		panic(http.ErrAbortHandler) // to return would end the answer
	}))
	defer server.Close()
	_, err := (&acme.Client{DirectoryURL: server.URL, HTTPClient: server.Client(), Key: newKey(t)}).GetDirectory(ctx)
	wantError(t, err, context.Canceled)
}
