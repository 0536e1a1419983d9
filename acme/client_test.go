package acme_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/everseal/everseal/acme"
)

// TestNoDirectory has several things answer at the directory's URL: the error says which of them are no CA. One that is out of order is.
func TestNoDirectory(t *testing.T) {
	for name, test := range map[string]struct {
		status      int
		kind, body  string
		noDirectory bool
	}{
		"a page":                  {200, "text/html", "<h1>log in</h1>", true},
		"another JSON":            {200, "application/json", `{"newNonce":"/nonce"}`, true},
		"not found":               {404, "text/html", "<h1>not here</h1>", true},
		"not found by a CA":       {404, "application/problem+json", `{"type":"urn:ietf:params:acme:error:malformed"}`, true},
		"forbidden by a proxy":    {403, "text/html", "<h1>no</h1>", true},
		"forbidden by a CA":       {403, "application/problem+json", `{"type":"urn:ietf:params:acme:error:unauthorized"}`, false},
		"too often":               {429, "text/html", "<h1>slowly</h1>", false},
		"out of order":            {503, "text/html", "<h1>sorry</h1>", false},
		"the directory of a CA":   {200, "application/json", `{"newNonce":"/nonce","newAccount":"/account","newOrder":"/order"}`, false},
		"out of order, by itself": {500, "application/problem+json", `{"type":"urn:ietf:params:acme:error:serverInternal"}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", test.kind)
				w.WriteHeader(test.status)
				_, _ = w.Write([]byte(test.body)) // the client tells
			}))
			defer server.Close()
			_, err := (&acme.Client{DirectoryURL: server.URL}).GetDirectory(t.Context())
			if errors.Is(err, acme.ErrNoDirectory) != test.noDirectory {
				t.Errorf("the error is %v, and %v is one of no directory", err, errors.Is(err, acme.ErrNoDirectory))
			}
		})
	}
}
