package acme_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
)

func TestBadNonceIsTriedAgainWithTheFreshOne(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		if _, err := c.client.FindAccount(t.Context()); err != nil { // fills the pool
			t.Fatal(err)
		}
		c.forget()
		fresh := []string{"fresh-0", "fresh-1", "fresh-2"}
		var refused int
		c.intercept = func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
			if resourceOf(r) == "newAccount" && refused < len(fresh) {
				refused++
				return response(r, http.StatusBadRequest, problem("badNonce", "the nonce is bad"), "Replay-Nonce", fresh[refused-1]), nil
			}
			if resourceOf(r) == "newAccount" {
				return response(r, http.StatusOK, `{"status":"valid"}`, "Location", "/account/1"), nil
			}
			return next.RoundTrip(r)
		}
		if _, err := c.client.FindAccount(t.Context()); err != nil {
			t.Fatal(err)
		}
		requests := c.requests("newAccount")
		if len(requests) != 4 || len(c.requests("")) != 4 {
			t.Fatalf("%d tries and %d requests, want 4 of each", len(requests), len(c.requests("")))
		}
		for i, want := range fresh {
			if got := requests[i+1].protected["nonce"]; got != want {
				t.Errorf("try %d has the nonce %v, want %s, which came with the refusal", i+2, got, want)
			}
			if requests[i].body == requests[i+1].body {
				t.Error("the same signature was sent twice")
			}
		}
	})
}

func TestBadNonceForEver(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		refused, start := 0, time.Now()
		c.intercept = func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
			if r.Method != http.MethodPost {
				return next.RoundTrip(r)
			}
			refused++
			return response(r, http.StatusBadRequest, problem("badNonce", "the nonce is bad"), "Replay-Nonce", "fresh"), nil
		}
		_, err := c.client.FindAccount(t.Context())
		wantError(t, err, acme.ErrBadNonce, "the nonce is bad")
		if refused < 3 || refused > 60 || time.Since(start) > time.Minute {
			t.Errorf("gave up after %d tries and %v", refused, time.Since(start))
		}
	})
}

// A CA that forgot all its nonces, as one that was started again, may refuse without a fresh one:
// RFC 8555 §6.5 only recommends it.
func TestBadNonceWithAPoolOfThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		restarted := false
		good := make(map[string]bool)
		f := fake{}
		f["/newNonce"] = func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			good[w.Header().Get("Replay-Nonce")] = restarted
		}
		f["/order"] = func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Second) // so that many are under way at once, each with a nonce of its own
			sent, err := newRequest(r)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if nonce := sent.protected["nonce"].(string); restarted && !good[nonce] {
				answer(http.StatusBadRequest, problem("badNonce", "unknown"), "Replay-Nonce", "")(w, r)
				return
			}
			answer(http.StatusOK, `{"status":"ready"}`)(w, r)
		}
		client := f.client(t)
		client.AccountURL = fakeOrigin + "/account/1"
		var group sync.WaitGroup
		for range 60 {
			group.Go(func() {
				if _, err := client.GetOrder(t.Context(), fakeOrigin+"/order"); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		mu.Lock()
		restarted = true
		mu.Unlock()
		if _, err := client.GetOrder(t.Context(), fakeOrigin+"/order"); err != nil {
			t.Errorf("after the CA's restart: %v", err)
		}
	})
}

func TestNoncesArePooledAndAge(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		for range 5 {
			if _, err := c.client.FindAccount(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(c.requests("newNonce")); n != 0 {
			t.Errorf("%d nonces were asked for though each answer had one", n)
		}
		time.Sleep(time.Hour)
		if _, err := c.client.FindAccount(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := len(c.requests("newNonce")); n != 1 {
			t.Errorf("%d nonces were asked for after an hour, want 1: the pooled ones are too old", n)
		}
	})
}

func TestMalformedNoncesAreIgnored(t *testing.T) {
	for _, nonce := range []string{"", "with space", "plus+", "slash/", "padded==", "ümlaut", strings.Repeat("a", 10_000)} {
		f := fake{"/newNonce": func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Replay-Nonce", nonce) }}
		_, err := f.client(t).FindAccount(t.Context())
		wantError(t, err, nil, "nonce")

		// One that comes with an answer is passed over for one from newNonce.
		f = fake{"/order": answer(http.StatusOK, `{"status":"ready"}`, "Replay-Nonce", nonce)}
		asked := 0
		f["/newNonce"] = func(http.ResponseWriter, *http.Request) { asked++ }
		client := f.client(t)
		client.AccountURL = fakeOrigin + "/account/1"
		for range 3 {
			if _, err := client.GetOrder(t.Context(), fakeOrigin+"/order"); err != nil {
				t.Errorf("%q: %v", nonce, err)
			}
		}
		if asked != 3 {
			t.Errorf("%q: %d nonces were asked for, want 3", nonce, asked)
		}
	}
}

// newNonce is answered with 200 to HEAD and 204 to GET (RFC 8555 §7.2); what counts is the nonce.
func TestNewNonceWithoutContent(t *testing.T) {
	f := fake{"/newNonce": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusNoContent)
	}}
	if _, err := f.client(t).FindAccount(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestNewNonceFails(t *testing.T) {
	f := fake{"/newNonce": answer(http.StatusInternalServerError, "")}
	_, err := f.client(t).FindAccount(t.Context())
	wantError(t, err, nil, "nonce", "500")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = fake{}.client(t).FindAccount(ctx)
	wantError(t, err, context.Canceled)
}

// A slowBody takes a second to be closed, after its answer's headers have been seen.
type slowBody struct{ io.ReadCloser }

func (b slowBody) Close() error {
	time.Sleep(time.Second)
	return b.ReadCloser.Close()
}

// A nonce that was asked for by one call must not be missing there because another took it.
func TestNewNonceIsForTheCallThatAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fake{"/order": answer(http.StatusOK, `{"status":"ready"}`, "Replay-Nonce", "")}
		client := f.client(t)
		client.AccountURL = fakeOrigin + "/account/1"
		next := client.HTTPClient.Transport
		client.HTTPClient.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			resp, err := next.RoundTrip(r)
			if err == nil && r.URL.Path == "/newNonce" {
				resp.Body = slowBody{resp.Body}
			}
			return resp, err
		})
		var group sync.WaitGroup
		for i := range 20 {
			group.Go(func() {
				time.Sleep(time.Duration(i) * 100 * time.Millisecond)
				if _, err := client.GetOrder(t.Context(), fakeOrigin+"/order"); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
	})
}
