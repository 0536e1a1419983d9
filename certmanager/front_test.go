package certmanager_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// A front stands between a manager and its CA, and may answer in the CA's place.
type front struct {
	ca http.RoundTripper

	mu       sync.Mutex
	answer   func(*http.Request) (*http.Response, error)
	requests map[string]int // by the first segment of the path
}

// front returns a new one for the world's CA, which passes on everything.
func (w *world) front() *front {
	return &front{ca: w.ca.Client().Transport, requests: make(map[string]int)}
}

// fronted returns a front and the names' configuration, in which the CA is behind it.
func (w *world) fronted(names ...string) (*front, certmanager.Config) {
	f, config := w.front(), w.config(names...)
	acmeOf(config).HTTPClient = f.client()
	return f, config
}

func (f *front) client() *http.Client { return &http.Client{Transport: f} }

// answerWith has a function answer from now on; where it returns nothing, or is nil, the CA answers.
func (f *front) answerWith(answer func(*http.Request) (*http.Response, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

func (f *front) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	answer := f.answer
	f.requests[resource(r)]++
	f.mu.Unlock()
	if answer != nil {
		if response, err := answer(r); response != nil || err != nil {
			return response, err
		}
	}
	return f.ca.RoundTrip(r)
}

// count returns how many requests there were for the resource.
func (f *front) count(resource string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests[resource]
}

// resource returns what a request to an acmetest.Server is for, such as "newOrder".
func resource(r *http.Request) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	return name
}

// hang never answers the request.
func hang(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// reply answers with a status, a content type and a body.
func reply(r *http.Request, status int, contentType, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:  http.Header{"Content-Type": {contentType}},
		Body:    io.NopCloser(strings.NewReader(body)),
		Request: r,
	}
}

// only has a function answer requests for one resource.
func only(name string, answer func(*http.Request) (*http.Response, error)) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		if resource(r) != name {
			return nil, nil
		}
		return answer(r)
	}
}

// untilReleased holds back what the CA would answer for a resource until the channel is closed.
func untilReleased(name string, release <-chan struct{}) func(*http.Request) (*http.Response, error) {
	return only(name, func(r *http.Request) (*http.Response, error) {
		select {
		case <-release:
			return nil, nil
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	})
}

// newOrders returns how often the CA was asked for an order, in vain or not.
func (w *world) newOrders() int { return w.ca.Requests()["newOrder"] }

// handshakeWithin is handshake repeated until it succeeds or the time is over.
func (w *world) handshakeWithin(name string, d time.Duration) (*x509.Certificate, error) {
	for end := time.Now().Add(d); ; time.Sleep(time.Second) {
		if leaf, err := w.handshake(w.t.Context(), name); err == nil || time.Now().After(end) {
			return leaf, err
		}
	}
}

// running is start; it returns when the manager runs and has done all that it can do at once.
func (w *world) running(config certmanager.Config) (m *certmanager.Manager, stop func()) {
	w.t.Helper()
	m, stop = w.start(config)
	synctest.Wait()
	return m, stop
}

// serving is start; it returns when all names of the configuration have a certificate.
func (w *world) serving(config certmanager.Config) (m *certmanager.Manager, stop func()) {
	w.t.Helper()
	m, stop = w.start(config)
	synctest.Wait() // of many names that are obtained at once not all events are kept
	for _, name := range config.Names {
		if s, _ := m.Status(name); s.State != certmanager.StateValid || !slices.Contains(s.Names, name) {
			w.await(certmanager.EventObtained, name, 1)
		}
	}
	synctest.Wait()
	return m, stop
}

// record returns the one record below the prefix, with its key.
func (w *world) record(prefix string) (key string, item storage.Item) {
	w.t.Helper()
	for found, err := range w.store.List(w.t.Context(), prefix) {
		if err != nil || key != "" {
			w.t.Fatalf("records below %s: %s and %s, %v; want one", prefix, key, found, err)
		}
		key = found
	}
	if key == "" {
		w.t.Fatalf("there is no record below %s", prefix)
	}
	item, err := w.store.Load(w.t.Context(), key)
	if err != nil {
		w.t.Fatal(err)
	}
	return key, item
}

// keys returns how many records there are below the prefix.
func (w *world) keys(prefix string) (n int) {
	w.t.Helper()
	for _, err := range w.store.List(w.t.Context(), prefix) {
		if err != nil {
			w.t.Fatal(err)
		}
		n++
	}
	return n
}

// runBehind is run with a server that has a tls.Config of its own.
func (w *world) runBehind(m *certmanager.Manager, config *tls.Config) (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	listener := newPipeListener()
	w.mu.Lock()
	w.listener = listener
	w.mu.Unlock()
	var group sync.WaitGroup
	group.Go(func() {
		if err := m.Run(ctx); err != nil {
			w.t.Errorf("Run: %v", err)
		}
	})
	group.Go(func() { serveHandshakes(tls.NewListener(listener, config)) })
	return sync.OnceFunc(func() {
		cancel()
		listener.Close()
		group.Wait()
	})
}
