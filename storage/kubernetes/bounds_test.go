package kubernetes

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// No more requests than maxRequests are under way at once, and watches are not among them.
func TestRequestsAreBounded(t *testing.T) {
	var mu sync.Mutex
	var once sync.Once
	now, most := 0, 0
	full, release := make(chan struct{}), make(chan struct{})
	fake := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		mu.Lock()
		if now++; now == maxRequests {
			once.Do(func() { close(full) })
		}
		most = max(most, now)
		mu.Unlock()
		<-release
		mu.Lock()
		now--
		mu.Unlock()
		w.WriteHeader(http.StatusNotFound)
	}))
	defer fake.Close()
	s, err := New(fake.Client(), fake.URL, Config{Namespace: "a"})
	if err != nil {
		t.Fatal(err)
	}
	var tasks sync.WaitGroup
	for range 3 * maxRequests {
		tasks.Go(func() { _, _ = s.Load(t.Context(), "a") })
	}
	<-full
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.get(ctx, "a", new(secret)); !errors.Is(err, context.Canceled) {
		t.Errorf("a request that waits for its turn when its context ends: %v", err)
	}
	close(release)
	tasks.Wait()
	if most != maxRequests {
		t.Errorf("%d requests at once, want %d", most, maxRequests)
	}
}

// An answer without end is refused.
func TestAnswersAreBounded(t *testing.T) {
	if raceDetector {
		t.Skip("it reads a hundred megabytes")
	}
	s := answering(t, 200, "")
	for code, want := range map[int]string{200: "the answer has more than", 500: "HTTP status 500"} {
		through(s, func(q *http.Request, _ http.RoundTripper) (*http.Response, error) {
			return &http.Response{StatusCode: code, Header: http.Header{}, Request: q, Body: io.NopCloser(endless{})}, nil
		})
		if _, err := s.Load(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d without end: %v", code, err)
		}
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// A server that says nothing is waited for as long as the context lasts.
func TestServerIsSilent(t *testing.T) {
	ended := make(chan struct{})
	fake := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) { <-ended }))
	defer fake.Close()
	defer close(ended)
	s, err := New(fake.Client(), fake.URL, Config{Namespace: "a"})
	if err != nil {
		t.Fatal(err)
	}
	reason := errors.New("the reason")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, reason)
	defer cancel()
	eachCall(ctx, s, func(name string, err error) {
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, reason) {
			t.Errorf("%s: %v", name, err)
		}
	})
}
