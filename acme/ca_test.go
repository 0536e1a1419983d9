package acme_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
)

// A ca is an acmetest server in memory with a client of it and a solver. What the client sends is
// kept, and intercept may stand between the two.
type ca struct {
	*acmetest.Server
	client *acme.Client
	solver *solver

	intercept func(r *http.Request, next http.RoundTripper) (*http.Response, error)

	mu  sync.Mutex
	log []request
}

// newCA returns a CA that knows the client's account. It can be used in a bubble of synctest.
func newCA(t *testing.T) *ca {
	t.Helper()
	c := newUnregisteredCA(t, func(*acmetest.Server) {})
	if _, err := c.client.Register(t.Context(), acme.Registration{AgreeToTerms: true}); err != nil {
		t.Fatal(err)
	}
	c.forget()
	return c
}

// newUnregisteredCA returns a CA that was configured before its start and knows no account.
func newUnregisteredCA(t *testing.T, configure func(*acmetest.Server)) *ca {
	t.Helper()
	return startCA(t, configure, (*acmetest.Server).StartInMemory)
}

func startCA(t *testing.T, configure, start func(*acmetest.Server)) *ca {
	t.Helper()
	c := &ca{Server: acmetest.NewUnstartedServer()}
	c.solver = newSolver(acme.TypeHTTP01, c.Server)
	c.Dial = c.solver.dial
	configure(c.Server)
	start(c.Server)
	t.Cleanup(c.Close)
	c.SetHost("*", "192.0.2.1")
	c.client = &acme.Client{DirectoryURL: c.URL, HTTPClient: &http.Client{Transport: c}, Key: newKey(t)}
	return c
}

// RoundTrip passes the request to the server, through intercept where there is one.
func (c *ca) RoundTrip(r *http.Request) (*http.Response, error) {
	kept, err := newRequest(r)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.log = append(c.log, kept)
	c.mu.Unlock()
	if next := c.Client().Transport; c.intercept == nil {
		return next.RoundTrip(r)
	} else {
		return c.intercept(r, next)
	}
}

// requests returns what the client sent so far to the named resource, or to all with "".
func (c *ca) requests(resource string) []request {
	c.mu.Lock()
	defer c.mu.Unlock()
	var found []request
	for _, r := range c.log {
		if resource == "" || r.resource == resource {
			found = append(found, r)
		}
	}
	return found
}

// forget lets requests begin anew.
func (c *ca) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log = nil
}

// issue obtains a certificate with what r leaves out filled in.
func (c *ca) issue(t *testing.T, ctx context.Context, r acme.Request) (*acme.Certificate, error) {
	t.Helper()
	if r.Identifiers == nil {
		r.Identifiers = identifiers(t, "example.com")
	}
	if r.Key == nil {
		r.Key = newKey(t)
	}
	if r.Solvers == nil {
		r.Solvers = []acme.Solver{c.solver}
	}
	return c.client.Issue(ctx, r)
}

// A request is one that a client sent, with its signature taken apart.
type request struct {
	method    string
	url       string
	resource  string // first segment of the path
	header    http.Header
	body      string
	protected map[string]any
	payload   string
}

// newRequest reads the request and gives it a fresh body.
func newRequest(r *http.Request) (request, error) {
	kept := request{method: r.Method, url: r.URL.String(), resource: resourceOf(r), header: r.Header.Clone()}
	if r.Body == nil {
		return kept, nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return kept, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	kept.body = string(body)
	var jws struct{ Protected, Payload string }
	if json.Unmarshal(body, &jws) != nil {
		return kept, nil
	}
	protected, err := base64.RawURLEncoding.DecodeString(jws.Protected)
	if err != nil {
		return kept, err
	}
	payload, err := base64.RawURLEncoding.DecodeString(jws.Payload)
	if err != nil {
		return kept, err
	}
	kept.payload = string(payload)
	return kept, json.Unmarshal(protected, &kept.protected)
}

func resourceOf(r *http.Request) string {
	resource, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	return resource
}

// errCut is what a client sees of a connection that broke.
var errCut = errors.New("connection cut")

// A handlerTransport calls a handler without a network between, so that a bubble of synctest can do
// with it. http.ErrAbortHandler is seen as errCut.
type handlerTransport struct{ http.Handler }

// RoundTrip returns the handler's answer.
func (t handlerTransport) RoundTrip(r *http.Request) (answer *http.Response, err error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	defer func() {
		switch reason := recover(); reason {
		case nil:
		case http.ErrAbortHandler:
			answer, err = nil, errCut
		default:
			panic(reason)
		}
	}()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	recorder := httptest.NewRecorder()
	t.ServeHTTP(recorder, r)
	answer = recorder.Result()
	answer.Request = r
	return answer, nil
}

// A roundTripper is a function that is an http.RoundTripper.
type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip calls the function.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// fakeOrigin is where a fake CA is.
const fakeOrigin = "https://ca.example"

// A fake is a CA written by hand, to misbehave. Its resources are found by path; the directory, nonces
// and an account are there unless replaced.
type fake map[string]http.HandlerFunc

// client returns a client of the CA that reaches it without a network.
func (f fake) client(t *testing.T) *acme.Client {
	t.Helper()
	return &acme.Client{
		DirectoryURL: fakeOrigin + "/directory",
		HTTPClient:   &http.Client{Transport: handlerTransport{f}},
		Key:          newKey(t),
	}
}

// ServeHTTP answers as the fake CA.
func (f fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.Header().Set("Replay-Nonce", rand.Text())
	}
	if handler := f[r.URL.Path]; handler != nil {
		handler(w, r)
		return
	}
	switch r.URL.Path {
	case "/directory":
		answer(http.StatusOK, `{"newNonce":"/newNonce","newAccount":"/newAccount","newOrder":"/newOrder"}`)(w, r)
	case "/newNonce":
	case "/newAccount":
		w.Header().Set("Location", "/account/1")
		answer(http.StatusCreated, `{"status":"valid"}`)(w, r)
	default:
		answer(http.StatusNotFound, `{"type":"urn:ietf:params:acme:error:malformed","detail":"nothing is there"}`)(w, r)
	}
}

// answer returns a handler that answers always the same. Headers are names and values in turn.
func answer(status int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		if r.Method != http.MethodHead {
			_, _ = io.WriteString(w, body)
		}
	}
}

// problem returns the body of a refusal of an ACME type.
func problem(name, detail string) string {
	body, err := json.Marshal(map[string]string{"type": "urn:ietf:params:acme:error:" + name, "detail": detail})
	if err != nil {
		panic(err)
	}
	return string(body)
}

// response returns an answer for an interceptor to give in the server's place.
func response(r *http.Request, status int, body string, headers ...string) *http.Response {
	recorder := httptest.NewRecorder()
	answer(status, body, headers...)(recorder, r)
	resp := recorder.Result()
	resp.Request = r
	return resp
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func identifiers(t testing.TB, names ...string) []acme.Identifier {
	t.Helper()
	var ids []acme.Identifier
	for _, name := range names {
		id, err := acme.ParseIdentifier(name)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}

// wantError checks that err is of the type and says each of the words.
func wantError(t *testing.T, err, target error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one that says %q", words)
	}
	if target != nil && !errors.Is(err, target) {
		t.Errorf("error %v is not %v", err, target)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("error %q does not say %q", err, word)
		}
	}
}
