package certmanager_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
)

// statuses returns the status of all certificates, sorted by name.
func statuses(m *certmanager.Manager) []certmanager.Status {
	return slices.SortedFunc(m.All(), func(a, b certmanager.Status) int { return slices.Compare(a.Names, b.Names) })
}

// statusOf returns the status of the certificate whose first name it is.
func statusOf(t *testing.T, m *certmanager.Manager, name string) certmanager.Status {
	t.Helper()
	for _, s := range statuses(m) {
		if s.Names[0] == name {
			return s
		}
	}
	t.Fatalf("there is no status of %s", name)
	return certmanager.Status{}
}

// TestRefusedName has the CA refuse a name, and follows that through event, status, handshake, back-off
// and restart.
func TestRefusedName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.ca.Refuse("example.com")
		m, stop := w.start(w.config("example.com"))
		failed := w.await(certmanager.EventFailed, "example.com", 1)
		synctest.Wait()
		checkRefusal(t, "event", failed.Err)
		if wait := failed.Next.Sub(failed.Time); wait < time.Minute || wait > 75*time.Second {
			t.Errorf("the next attempt is due after %v, want 60 to 75 s", wait)
		}
		status := statusOf(t, m, "example.com")
		if status.State != certmanager.StateWaiting || status.Action != certmanager.ActionRetry || !status.Next.Equal(failed.Next) || status.Failure == nil {
			t.Fatalf("status: %+v", status)
		}
		checkRefusal(t, "status", status.Failure.Err)
		_, err := ask(t, m, "example.com")
		checkRefusal(t, "handshake", err)
		stop()

		time.Sleep(20 * time.Second)
		m, stop = w.running(w.config("example.com"))
		defer stop()
		again := statusOf(t, m, "example.com")
		if again.Failure == nil || !again.Failure.Time.Equal(failed.Time) || !again.Next.Equal(failed.Next) {
			t.Errorf("after a restart: %+v, failure %+v; want that of %v and the next attempt at %v", again, again.Failure, failed.Time, failed.Next)
		} else {
			checkRefusal(t, "status after a restart", again.Failure.Err)
		}
		if n := w.newOrders(); n != 1 {
			t.Errorf("%d orders after a restart before the next attempt was due, want 1", n)
		}
		if told := w.await(certmanager.EventFailed, "example.com", 2); !told.Next.Equal(failed.Next) {
			t.Errorf("after a restart the next attempt is said to be due at %v, want %v", told.Next, failed.Next)
		}
		second := w.await(certmanager.EventFailed, "example.com", 3)
		if !second.Time.Equal(failed.Next) {
			t.Errorf("the second attempt was at %v, want %v", second.Time, failed.Next)
		}
		if wait := second.Next.Sub(second.Time); wait < 10*time.Minute || wait > 13*time.Minute {
			t.Errorf("the third attempt is due after %v, want ten minutes and a quarter of it at most", wait)
		}
	})
}

// checkRefusal checks that an error says which name was refused, and the CA's words.
func checkRefusal(t *testing.T, where string, err error) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), "example.com") || !strings.Contains(err.Error(), "this CA issues no certificates for") {
		t.Errorf("%s: the error has not both the name and the CA's words: %v", where, err)
	}
}

// TestRenewalRefused shows that a certificate is served while the CA refuses its successor.
func TestRenewalRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m, stop := w.start(w.config("example.com"))
		defer stop()
		w.await(certmanager.EventObtained, "example.com", 1)
		w.ca.Refuse("example.com")
		failed := w.await(certmanager.EventFailed, "example.com", 1)
		if !failed.Renewal || !errors.Is(failed.Err, acme.ErrRejectedIdentifier) {
			t.Errorf("event: %+v", failed)
		}
		synctest.Wait()
		if _, err := w.handshake(t.Context(), "example.com"); err != nil {
			t.Error(err)
		}
		status := statusOf(t, m, "example.com")
		if status.State != certmanager.StateValid || status.Action != certmanager.ActionRetry || status.Failure == nil || status.Serial == "" {
			t.Errorf("status: %+v", status)
		}
	})
}

// TestRetryAfterWins has the CA say when to come back, later than the back-off would.
func TestRetryAfterWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		front := w.front()
		front.answerWith(only("newOrder", func(r *http.Request) (*http.Response, error) {
			response := reply(r, http.StatusTooManyRequests, "application/problem+json",
				`{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many certificates for example.com"}`)
			response.Header.Set("Retry-After", "36000")
			return response, nil
		}))
		config := w.config("example.com")
		acmeOf(config).HTTPClient = front.client()
		m, stop := w.start(config)
		failed := w.await(certmanager.EventFailed, "example.com", 1)
		if wait := failed.Next.Sub(failed.Time); wait != 10*time.Hour {
			t.Errorf("the next attempt is due after %v, want 10 h", wait)
		}
		if !errors.Is(failed.Err, acme.ErrRateLimited) || !strings.Contains(failed.Err.Error(), "too many certificates") {
			t.Errorf("the error is %v", failed.Err)
		}
		synctest.Wait()
		if next := statusOf(t, m, "example.com").Next; !next.Equal(failed.Next) {
			t.Errorf("the status says %v, the event %v", next, failed.Next)
		}
		stop()
		front.answerWith(nil)
		_, stop = w.start(config)
		defer stop()
		obtained := w.await(certmanager.EventObtained, "example.com", 1)
		if early := failed.Next.Sub(obtained.Time); early > 0 {
			t.Errorf("after a restart the CA was asked %v too early", early)
		}
	})
}

// TestBrokenCA has a CA give all kinds of answers but the right one, at every stage that has them, and
// recover: each time there must be a clear error, and then the certificate, without a restart.
func TestBrokenCA(t *testing.T) {
	const html = "<!DOCTYPE html>\n<title>Welcome</title>"
	answer := func(status int, contentType, body string) func(*http.Request) (*http.Response, error) {
		return func(r *http.Request) (*http.Response, error) { return reply(r, status, contentType, body), nil }
	}
	for _, test := range []struct {
		name     string
		resource string
		answer   func(*http.Request) (*http.Response, error)
		says     string
	}{
		{"unreachable", "directory", func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }, "connection refused"},
		{"directory of HTML", "directory", answer(200, "text/html", html), "text/html"},
		{"no directory", "directory", answer(404, "text/html", html), "404"},
		{"directory without newOrder", "directory",
			answer(200, "application/json", `{"newNonce":"https://ca.invalid/n","newAccount":"https://ca.invalid/a"}`), "newOrder"},
		{"directory of null", "directory", answer(200, "application/json", "null"), "newNonce"},
		{"endless directory", "directory", endless, "larger than"},
		{"failing nonces", "newNonce", answer(500, "text/plain", "no"), "500"},
		{"nonces without nonce", "newNonce", answer(200, "text/plain", ""), "Replay-Nonce"},
		{"account of HTML", "newAccount", answer(200, "text/html", html), "text/html"},
		{"failing orders", "newOrder", answer(500, "application/problem+json", `{"detail":"the database is down"}`), "the database is down"},
		{"order of HTML", "newOrder", answer(201, "text/html", html), "text/html"},
		{"endless order", "newOrder", endless, "larger than"},
		{"failing authorizations", "authorization", answer(502, "text/html", html), "502"},
		{"failing challenges", "challenge", answer(503, "text/plain", "busy"), "503"},
		{"failing finalize", "finalize", answer(500, "text/plain", "no"), "500"},
		{"failing polls", "order", answer(500, "text/plain", "no"), "500"},
		{"certificate of HTML", "certificate", answer(200, "text/html", html), "certificate"},
		{"endless certificate", "certificate", endless, "larger than"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				front := w.front()
				front.answerWith(only(test.resource, test.answer))
				config := w.config("example.com")
				acmeOf(config).HTTPClient = front.client()
				_, stop := w.start(config)
				defer stop()
				failed := w.await(certmanager.EventFailed, "example.com", 1)
				if text := failed.Err.Error(); !strings.Contains(text, test.says) || !strings.Contains(text, "example.com") || strings.Contains(text, "\n") {
					t.Errorf("the error does not say %q, or shows it raw: %s", test.says, text)
				}
				time.Sleep(time.Minute)
				front.answerWith(nil)
				obtained := w.await(certmanager.EventObtained, "example.com", 1)
				if wait := obtained.Time.Sub(failed.Time); wait > 15*time.Minute {
					t.Errorf("the certificate came %v after the first failure", wait)
				}
				if n := len(w.ca.Certificates()); n != 1 {
					t.Errorf("%d certificates, want 1", n)
				}
				if n := w.keys("challenges"); n != 0 {
					t.Errorf("%d answers were left behind", n)
				}
			})
		})
	}
}

// endless is an answer whose body has no end.
func endless(r *http.Request) (*http.Response, error) {
	response := reply(r, http.StatusOK, "application/json", "")
	response.Body = io.NopCloser(zeros{})
	return response, nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestHangingCA shows that an attempt ends though the CA does not answer, and that Run ends at once
// while it hangs.
func TestHangingCA(t *testing.T) {
	for _, hanging := range []string{"directory", "newAccount", "newOrder", "challenge", "finalize", "certificate"} {
		t.Run(hanging, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				front := w.front()
				front.answerWith(only(hanging, hang))
				config := w.config("example.com")
				acmeOf(config).HTTPClient = front.client()
				began := time.Now()
				_, stop := w.start(config)
				failed := w.await(certmanager.EventFailed, "example.com", 1)
				if took := failed.Time.Sub(began); took > 15*time.Minute {
					t.Errorf("the attempt took %v", took)
				}
				if !errors.Is(failed.Err, context.DeadlineExceeded) {
					t.Errorf("the error is %v", failed.Err)
				}
				time.Sleep(5 * time.Minute)
				if n := w.count(certmanager.EventFailed); n != 1 {
					t.Fatalf("%d failures; the second attempt was to hang now", n)
				}
				began = time.Now()
				stop()
				if took := time.Since(began); took > 0 {
					t.Errorf("Run ended after %v", took)
				}
				if n := w.count(certmanager.EventFailed); n != 1 {
					t.Error("that Run ended was reported as a failure")
				}
			})
		})
	}
}

// TestTimeoutIsRemembered has an attempt end because the CA does not answer: a process that is started then waits as long as the one
// before would have.
func TestTimeoutIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		front := w.front()
		front.answerWith(only("finalize", hang))
		config := w.config("example.com")
		acmeOf(config).HTTPClient = front.client()
		_, stop := w.start(config)
		failed := w.await(certmanager.EventFailed, "example.com", 1)
		synctest.Wait()
		stop()
		m, stop := w.running(config)
		defer stop()
		if s := statusOf(t, m, "example.com"); s.Failure == nil || !s.Failure.Time.Equal(failed.Time) || !s.Next.Equal(failed.Next) {
			t.Errorf("after a restart: %+v, failure %+v; want that of %v and the next attempt at %v", s, s.Failure, failed.Time, failed.Next)
		}
	})
}

func TestOneRefusedNameAmongForty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		names := siteNames(41)
		w.ca.Refuse(names[20])
		began := time.Now()
		_, stop := w.start(w.config(names...))
		defer stop()
		for _, name := range names {
			kind := certmanager.EventObtained
			if name == names[20] {
				kind = certmanager.EventFailed
			}
			if event := w.await(kind, name, 1); event.Time.Sub(began) > 10*time.Second {
				t.Errorf("%s was %s after %v", name, kind, event.Time.Sub(began))
			}
		}
	})
}

// TestThousandFailingNames is defect 5 of a peer: there a thousand names that fail, each waiting out its
// back-off in a worker, kept the next name from being obtained.
func TestThousandFailingNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		config := w.config()
		names := make([]string, 1000)
		if raceDetector {
			names = names[:100] // for fewer workers
			config.Workers = 50
		}
		for i := range names {
			names[i] = fmt.Sprintf("bad-%03d.example.com", i)
			w.ca.Refuse(names[i])
		}
		config.Names = names
		m, stop := w.running(config)
		defer stop()
		for _, name := range names {
			w.await(certmanager.EventFailed, name, 1)
		}
		for round := range 3 {
			// The first time all of them wait, then many of them are due.
			name := fmt.Sprintf("good-%d.example.com", round)
			began := time.Now()
			if err := m.Manage(certmanager.Subject{Names: []string{name}}); err != nil {
				t.Fatal(err)
			}
			if took := w.await(certmanager.EventObtained, name, 1).Time.Sub(began); took > 5*time.Second {
				t.Errorf("%s was obtained after %v", name, took)
			}
			time.Sleep(time.Minute)
		}
	})
}
