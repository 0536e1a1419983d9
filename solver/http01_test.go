package solver_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/internal/solvertest"
	"github.com/everseal/everseal/storage"
)

func TestHTTP01(t *testing.T) {
	for _, identifier := range []string{"example.com", "xn--bcher-kva.example", "192.0.2.1", "2001:db8::1"} {
		t.Run(identifier, func(t *testing.T) {
			h := new(solver.HTTP01)
			server := solvertest.ServeHTTP(t, h.Handler(solvertest.Site()))
			p := solvertest.NewProof(acme.TypeHTTP01, identifier)
			if err := solvertest.ValidateHTTP01(t, server, p); err == nil {
				t.Fatal("valid before Present")
			}
			solvertest.Present(t, h, p)
			if err := solvertest.ValidateHTTP01(t, server, p); err != nil {
				t.Error(err)
			}
			if err := solvertest.ValidateHTTP01(t, server, solvertest.WithToken(p, "another-token")); err == nil {
				t.Error("valid for another token")
			}
			solvertest.CleanUp(t, h, p)
			if err := solvertest.ValidateHTTP01(t, server, p); err == nil {
				t.Error("valid after CleanUp")
			}
		})
	}
}

func TestHTTP01OfAnotherProcess(t *testing.T) {
	store := storage.Dir(t.TempDir())
	server := solvertest.ServeHTTP(t, (&solver.HTTP01{Storage: store}).Handler(nil))
	p := solvertest.NewProof(acme.TypeHTTP01, "2001:db8::1")
	solvertest.Present(t, &solver.HTTP01{Storage: store}, p)
	if err := solvertest.ValidateHTTP01(t, server, p); err != nil {
		t.Error(err)
	}
}

func get(t *testing.T, method, server, path string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, "http://"+server+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := new(http.Transport).RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

func TestHTTP01Answer(t *testing.T) {
	h := new(solver.HTTP01)
	solvertest.Present(t, h, solvertest.NewProof(acme.TypeHTTP01, "example.com"))
	server := solvertest.ServeHTTP(t, h.Handler(solvertest.Site()))
	for method, want := range map[string]string{"GET": solvertest.Token + "." + solvertest.Thumbprint, "HEAD": ""} {
		response, body := get(t, method, server, "/.well-known/acme-challenge/"+solvertest.Token+"?x=<script>")
		if response.StatusCode != http.StatusOK || body != want || response.ContentLength != int64(len(solvertest.Token+"."+solvertest.Thumbprint)) {
			t.Errorf("%s: %s, %d bytes announced, body %q", method, response.Status, response.ContentLength, body)
		}
		for name, want := range map[string]string{
			"Content-Type":           "application/octet-stream",
			"X-Content-Type-Options": "nosniff",
			"Cache-Control":          "no-store",
		} {
			if got := response.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", method, name, got, want)
			}
		}
	}
}

func TestHandlerFallsThrough(t *testing.T) {
	h := new(solver.HTTP01)
	solvertest.Present(t, h, solvertest.NewProof(acme.TypeHTTP01, "example.com"))
	server := solvertest.ServeHTTP(t, h.Handler(solvertest.Site()))
	alone := solvertest.ServeHTTP(t, h.Handler(nil))
	for _, request := range []struct{ method, path string }{
		{"GET", "/"},
		{"GET", "/.well-known/acme-challenge/"},
		{"GET", "/.well-known/acme-challenge/unknown"},
		{"GET", "/.well-known/acme-challenge/" + solvertest.Token + "/"},
		{"GET", "/.well-known/acme-challenge/" + strings.ToLower(solvertest.Token)},
		{"GET", "/.well-known/" + solvertest.Token},
		{"GET", "/sub/.well-known/acme-challenge/" + solvertest.Token},
		{"POST", "/.well-known/acme-challenge/" + solvertest.Token},
		{"DELETE", "/.well-known/acme-challenge/" + solvertest.Token},
	} {
		if _, body := get(t, request.method, server, request.path); body != "the site itself" {
			t.Errorf("%s %s: %q", request.method, request.path, body)
		}
		if response, _ := get(t, request.method, alone, request.path); response.StatusCode != http.StatusNotFound {
			t.Errorf("%s %s without a next handler: %s", request.method, request.path, response.Status)
		}
	}
}

func TestHostileTokensNeverReachStorage(t *testing.T) {
	store := new(watchedStore)
	handler := (&solver.HTTP01{Storage: store}).Handler(nil)
	ask := func(path string) {
		request := httptest.NewRequest(http.MethodGet, "/", nil)
		request.URL.Path = path
		handler.ServeHTTP(httptest.NewRecorder(), request)
	}
	for _, hostile := range []string{
		"", ".", "..", "../../../etc/passwd", `..\..\windows\win.ini`, "a/b", "a%2fb", "a.b", "a b", "a+b", "a=", "a\x00b",
		"tökén", "a\r\nSet-Cookie: x", "<script>", "%00", strings.Repeat("a", 257), strings.Repeat("a", 1<<20),
	} {
		ask("/.well-known/acme-challenge/" + hostile)
		if n := store.asked(); n != 0 {
			t.Errorf("storage was asked %d times for the token %.60q", n, hostile)
		}
	}
	for _, unknown := range []string{"a", "unknown_TOKEN-1", strings.Repeat("a", 256)} {
		ask("/.well-known/acme-challenge/" + unknown)
		if n := store.asked(); n != 1 {
			t.Errorf("storage was asked %d times for the token %.60q, want once", n, unknown)
		}
	}
}

func TestHandlerStorageFailure(t *testing.T) {
	store := new(watchedStore)
	h := &solver.HTTP01{Storage: store}
	server := solvertest.ServeHTTP(t, h.Handler(solvertest.Site()))
	path := "/.well-known/acme-challenge/" + solvertest.Token
	store.fail(true)
	response, body := get(t, "GET", server, path)
	if response.StatusCode != http.StatusServiceUnavailable || strings.Contains(body, "secret-host") {
		t.Errorf("store down: %s, %q", response.Status, body)
	}
	if _, body := get(t, "GET", server, "/index.html"); body != "the site itself" {
		t.Errorf("store down: the site answers %q", body)
	}
	store.fail(false)
	solvertest.Present(t, &solver.HTTP01{Storage: store}, solvertest.NewProof(acme.TypeHTTP01, "example.com"))
	damage := func([]byte) ([]byte, error) { return []byte("<html>"), nil }
	if _, err := storage.Update(t.Context(), store, keysOf(t, store)[0], damage); err != nil {
		t.Fatal(err)
	}
	if response, body := get(t, "GET", server, path); response.StatusCode != http.StatusServiceUnavailable || strings.Contains(body, "html") {
		t.Errorf("record damaged: %s, %q", response.Status, body)
	}
}

func TestAddrTaken(t *testing.T) {
	occupied, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer occupied.Close()
	store := new(storage.Memory)
	h := &solver.HTTP01{Storage: store, Addr: occupied.Addr().String()}
	err = h.Present(t.Context(), solvertest.NewProof(acme.TypeHTTP01, "example.com"))
	if err == nil {
		t.Fatal("Present took an address that is taken")
	}
	for _, want := range []string{h.Addr, "HTTP01.Handler", "tls-alpn-01"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	if cause, ok := errors.AsType[*net.OpError](err); !ok || cause.Op != "listen" {
		t.Errorf("%q does not wrap what the network said", err)
	}
	if keys := keysOf(t, store); keys != nil {
		t.Errorf("stored are %q", keys)
	}
}
