package peers

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/everseal/everseal/acme"
)

// errCut is what a client sees of a connection that was cut.
var errCut = errors.New("the connection was cut")

// A recorder is the way of one client to a CA. It notes each request, and can lose one.
type recorder struct {
	next http.RoundTripper

	mu       sync.Mutex
	requests []string // first segment of the path
	nonces   []string // of the signed requests
	lose     loss
	finished func(request string) // called with an answer read to its end, before the client has it; may be nil
}

// A loss is that of one request, or of the answer to it. The zero loss is none.
type loss struct {
	number   int  // of the request that is lost, the first being 1
	answered bool // the CA has acted on it
}

// record has the client's requests pass a recorder from now on.
func record(client *acme.Client) *recorder {
	r := &recorder{next: client.HTTPClient.Transport}
	client.HTTPClient = &http.Client{Transport: r}
	return r
}

// RoundTrip is that of http.RoundTripper.
func (r *recorder) RoundTrip(request *http.Request) (*http.Response, error) {
	name, _, _ := strings.Cut(strings.TrimPrefix(request.URL.Path, "/"), "/")
	nonce, err := nonceOf(request)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.requests = append(r.requests, name)
	if nonce != "" {
		r.nonces = append(r.nonces, nonce)
	}
	lost := len(r.requests) == r.lose.number
	r.mu.Unlock()
	if lost && !r.lose.answered {
		return nil, errCut
	}
	response, err := r.next.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil {
		return nil, err
	}
	if lost {
		return nil, errCut
	}
	if r.finished != nil {
		r.finished(name)
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	return response, nil
}

// nonceOf returns the nonce that a request is signed with, or "" if it is not signed.
func nonceOf(request *http.Request) (string, error) {
	if request.Method != http.MethodPost {
		return "", nil
	}
	body, err := request.GetBody()
	if err != nil {
		return "", err
	}
	var signed struct{ Protected string }
	if err := json.NewDecoder(body).Decode(&signed); err != nil {
		return "", err
	}
	header, err := base64.RawURLEncoding.DecodeString(signed.Protected)
	if err != nil {
		return "", err
	}
	var protected struct{ Nonce string }
	err = json.Unmarshal(header, &protected)
	return protected.Nonce, err
}

// asked returns the requests so far.
func (r *recorder) asked() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.requests)
}

// count returns how many requests for a resource there were.
func (r *recorder) count(name string) int {
	return len(slices.DeleteFunc(r.asked(), func(other string) bool { return other != name }))
}

// forget begins anew, with a loss.
func (r *recorder) forget(next loss) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests, r.lose = nil, next
}

// repeatsNoNonce fails the test if a nonce was sent twice.
func (r *recorder) repeatsNoNonce(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	sorted := slices.Sorted(slices.Values(r.nonces))
	if len(sorted) == 0 || len(slices.Compact(slices.Clone(sorted))) != len(sorted) {
		t.Errorf("of %d signed requests, some were sent with the nonce of another", len(sorted))
	}
}
