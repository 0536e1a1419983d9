package solver_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
)

// requireError fails the test unless err says each of want, within bounds and on one line.
func requireError(t *testing.T, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range want {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	if len(err.Error()) > 1000 || strings.ContainsAny(err.Error(), "\r\n\x00\x1b") {
		t.Errorf("an error of %d bytes: %q", len(err.Error()), err)
	}
}

func TestHTTP01Check(t *testing.T) {
	for identifier, want := range map[string]struct{ address, host string }{
		"example.com": {"example.com:80", "example.com"},
		"192.0.2.1":   {"192.0.2.1:80", "192.0.2.1"},
		"2001:db8::1": {"[2001:db8::1]:80", "[2001:db8::1]"},
	} {
		t.Run(identifier, func(t *testing.T) {
			var host, dialled string
			h := new(solver.HTTP01)
			handler := h.Handler(site)
			server := serveHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				host = r.Host
				handler.ServeHTTP(w, r)
			}))
			h.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				dialled = address
				return dialTo(server)(ctx, network, address)
			}
			p := newProof(acme.TypeHTTP01, identifier)
			requireError(t, h.Check(t.Context(), p), identifier, "200 OK", "the site itself", server, "HTTP01.Handler")
			present(t, h, p)
			if err := h.Check(t.Context(), p); err != nil {
				t.Error(err)
			}
			if host != want.host || dialled != want.address {
				t.Errorf("asked %q for the host %q, want %q and %q", dialled, host, want.address, want.host)
			}
		})
	}
}

// Servers that answer p as a CA accepts it.
func TestHTTP01CheckAccepts(t *testing.T) {
	p := newProof(acme.TypeHTTP01, "example.com")
	answer := func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, p.KeyAuthorization+" \r\n\n") }
	secure := httptest.NewTLSServer(http.HandlerFunc(answer))
	t.Cleanup(secure.Close)
	hops := 0
	for name, handler := range map[string]http.HandlerFunc{
		"white space at the end": answer,
		"redirect to https": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://www.example.com"+r.URL.Path, http.StatusMovedPermanently)
		},
		"ten redirects": func(w http.ResponseWriter, r *http.Request) {
			if hops++; hops > 10 {
				answer(w, r)
				return
			}
			http.Redirect(w, r, fmt.Sprint(r.URL.Path, "?hop=", hops), http.StatusFound)
		},
	} {
		t.Run(name, func(t *testing.T) {
			plain := serveHTTP(t, handler)
			h := &solver.HTTP01{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
				if address == "www.example.com:443" {
					return dialTo(secure.Listener.Addr().String())(ctx, network, address)
				}
				return dialTo(plain)(ctx, network, address)
			}}
			if err := h.Check(t.Context(), p); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestHTTP01CheckReports(t *testing.T) {
	p := newProof(acme.TypeHTTP01, "example.com")
	redirect := func(url string, status int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, url, status) }
	}
	hops := 0
	raw := func(answer string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				panic(err)
			}
			io.WriteString(conn, answer)
			conn.Close()
		}
	}
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"nothing there": {http.NotFound, "404 Not Found"},
		"wrong status": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(202)
			io.WriteString(w, p.KeyAuthorization)
		}, "202 Accepted"},
		"another's answer":  {func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, p.KeyAuthorization+"x") }, token},
		"a server's name":   {func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Server", "nginx"); http.NotFound(w, r) }, `"nginx"`},
		"escapes":           {func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "\x1b[31m\r\n\x00") }, `\x1b[31m\r\n\x00`},
		"a body at length":  {func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, strings.Repeat("a", 1<<20)) }, strings.Repeat("a", 60)},
		"headers at length": {func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Server", strings.Repeat("a", 1<<20)) }, "headers"},
		"a loop":            {redirect("/loop", 302), "in a loop"},
		"eleven redirects": {func(w http.ResponseWriter, r *http.Request) {
			if hops++; hops > 11 {
				io.WriteString(w, p.KeyAuthorization)
				return
			}
			http.Redirect(w, r, fmt.Sprint(r.URL.Path, "?hop=", hops), http.StatusFound)
		}, "more than 10 redirects"},
		"see other":      {redirect("/", 303), "303"},
		"another port":   {redirect("http://example.com:8080/", 302), "port 8080"},
		"another scheme": {redirect("ftp://example.com/", 302), "ftp"},
		"no slash":       {redirect("http://example.com.well-known/acme-challenge/", 302), "slash"},
		"no host":        {redirect("http:///", 302), "no host"},
		"a long path":    {redirect("/"+strings.Repeat("a", 2001), 302), "path"},
		"endless": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				w.Write(make([]byte, 1<<10))
			}
		}, `\x00`},
		"a location at length": {redirect("ftp://example.com/"+strings.Repeat("a", 10000), 302), "scheme"},
		"a broken location":    {redirect("http://[/"+strings.Repeat("a", 10000), 302), "Location"},
		"no HTTP":              {raw("SSH-2.0-OpenSSH\r\n"), "SSH-2.0"},
		"a broken header":      {raw("HTTP/1.1 200 OK\r\n\x1b[31m" + strings.Repeat("a", 10000) + "\r\n\r\n"), "malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			h := &solver.HTTP01{Dial: dialTo(serveHTTP(t, test.handler))}
			requireError(t, h.Check(t.Context(), p), "example.com", test.want)
		})
	}
}

func TestChecksRefuseWhatPresentRefuses(t *testing.T) {
	h, s := new(solver.HTTP01), new(solver.TLSALPN01)
	p := newProof(acme.TypeHTTP01, "example.com:8080")
	requireError(t, h.Check(t.Context(), p), "example.com:8080")
	p.Type = acme.TypeTLSALPN01
	requireError(t, s.Check(t.Context(), p), "example.com:8080")
}

// Nothing listens on loopback's port 1.
func TestChecksOfClosedPort(t *testing.T) {
	h, s := &solver.HTTP01{Dial: dialTo("127.0.0.1:1")}, &solver.TLSALPN01{Dial: dialTo("127.0.0.1:1")}
	for _, err := range []error{
		h.Check(t.Context(), newProof(acme.TypeHTTP01, "example.com")),
		s.Check(t.Context(), newProof(acme.TypeTLSALPN01, "example.com")),
	} {
		requireError(t, err, "example.com", "127.0.0.1:1")
		if _, ok := errors.AsType[*net.OpError](err); !ok {
			t.Errorf("%v does not wrap what the dialler said", err)
		}
	}
}

// A server that takes connections and never answers.
func TestChecksGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial := func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			go func() {
				io.Copy(io.Discard, server)
				server.Close()
			}()
			return client, nil
		}
		h, s := &solver.HTTP01{Dial: dial}, &solver.TLSALPN01{Dial: dial}
		for _, limit := range []time.Duration{time.Second, 10 * time.Second, time.Hour} {
			for name, check := range map[string]func(context.Context) error{
				"http-01":     func(ctx context.Context) error { return h.Check(ctx, newProof(acme.TypeHTTP01, "example.com")) },
				"tls-alpn-01": func(ctx context.Context) error { return s.Check(ctx, newProof(acme.TypeTLSALPN01, "example.com")) },
			} {
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				start := time.Now()
				if err := check(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%s: %v", name, err)
				}
				if waited := time.Since(start); waited != min(limit, 10*time.Second) {
					t.Errorf("%s: with a deadline after %v it gave up after %v", name, limit, waited)
				}
				cancel()
			}
		}
	})
}
