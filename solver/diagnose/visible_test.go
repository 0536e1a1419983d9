package diagnose_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/diagnose"
	"github.com/everseal/everseal/solver/internal/solvertest"
)

func TestVisibleHTTP01(t *testing.T) {
	for identifier, want := range map[string]struct{ address, host string }{
		"example.com": {"example.com:80", "example.com"},
		"192.0.2.1":   {"192.0.2.1:80", "192.0.2.1"},
		"2001:db8::1": {"[2001:db8::1]:80", "[2001:db8::1]"},
	} {
		t.Run(identifier, func(t *testing.T) {
			var host, dialled string
			h := new(solver.HTTP01)
			handler := h.Handler(solvertest.Site())
			server := solvertest.ServeHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				host = r.Host
				handler.ServeHTTP(w, r)
			}))
			from := diagnose.Vantage{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
				dialled = address
				return solvertest.DialTo(server)(ctx, network, address)
			}}
			p := solvertest.NewProof(acme.TypeHTTP01, identifier)
			solvertest.RequireError(t, diagnose.Visible(t.Context(), p, from), identifier, "200 OK", "the site itself", server, "HTTP01.Handler")
			solvertest.Present(t, h, p)
			if err := diagnose.Visible(t.Context(), p, from); err != nil {
				t.Error(err)
			}
			if host != want.host || dialled != want.address {
				t.Errorf("asked %q for the host %q, want %q and %q", dialled, host, want.address, want.host)
			}
		})
	}
}

// Servers that answer p as a CA accepts it.
func TestVisibleHTTP01Accepts(t *testing.T) {
	p := solvertest.NewProof(acme.TypeHTTP01, "example.com")
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
			plain := solvertest.ServeHTTP(t, handler)
			from := diagnose.Vantage{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
				if address == "www.example.com:443" {
					return solvertest.DialTo(secure.Listener.Addr().String())(ctx, network, address)
				}
				return solvertest.DialTo(plain)(ctx, network, address)
			}}
			if err := diagnose.Visible(t.Context(), p, from); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestVisibleHTTP01Reports(t *testing.T) {
	p := solvertest.NewProof(acme.TypeHTTP01, "example.com")
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
		"another's answer":  {func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, p.KeyAuthorization+"x") }, solvertest.Token},
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
			from := diagnose.Vantage{Dial: solvertest.DialTo(solvertest.ServeHTTP(t, test.handler))}
			solvertest.RequireError(t, diagnose.Visible(t.Context(), p, from), "example.com", test.want)
		})
	}
}

func TestVisibleRefusesWhatPresentRefuses(t *testing.T) {
	p := solvertest.NewProof(acme.TypeHTTP01, "example.com:8080")
	solvertest.RequireError(t, diagnose.Visible(t.Context(), p, diagnose.Vantage{}), "example.com:8080")
	p.Type = acme.TypeTLSALPN01
	solvertest.RequireError(t, diagnose.Visible(t.Context(), p, diagnose.Vantage{}), "example.com:8080")
}

// Nothing listens on loopback's port 1.
func TestVisibleOfClosedPort(t *testing.T) {
	from := diagnose.Vantage{Dial: solvertest.DialTo("127.0.0.1:1")}
	for _, err := range []error{
		diagnose.Visible(t.Context(), solvertest.NewProof(acme.TypeHTTP01, "example.com"), from),
		diagnose.Visible(t.Context(), solvertest.NewProof(acme.TypeTLSALPN01, "example.com"), from),
	} {
		solvertest.RequireError(t, err, "example.com", "127.0.0.1:1")
		if _, ok := errors.AsType[*net.OpError](err); !ok {
			t.Errorf("%v does not wrap what the dialler said", err)
		}
	}
}

// A server that takes connections and never answers.
func TestVisibleGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial := func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			go func() {
				io.Copy(io.Discard, server)
				server.Close()
			}()
			return client, nil
		}
		from := diagnose.Vantage{Dial: dial}
		for _, limit := range []time.Duration{time.Second, 10 * time.Second, time.Hour} {
			for name, check := range map[string]func(context.Context) error{
				"http-01": func(ctx context.Context) error {
					return diagnose.Visible(ctx, solvertest.NewProof(acme.TypeHTTP01, "example.com"), from)
				},
				"tls-alpn-01": func(ctx context.Context) error {
					return diagnose.Visible(ctx, solvertest.NewProof(acme.TypeTLSALPN01, "example.com"), from)
				},
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

func TestVisibleAfterTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, challengeType := range []string{acme.TypeHTTP01, acme.TypeTLSALPN01} {
		if err := diagnose.Visible(ctx, solvertest.NewProof(challengeType, "example.com"), diagnose.Vantage{}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", challengeType, err)
		}
	}
}

// The error is its cause too.
func TestVisibleTellsTheCause(t *testing.T) {
	failing := func(err error) func(context.Context, string, string) (net.Conn, error) {
		return func(context.Context, string, string) (net.Conn, error) { return nil, err }
	}
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	for name, test := range map[string]struct {
		dial func(context.Context, string, string) (net.Conn, error)
		want diagnose.Cause // empty: none
	}{
		"another page":     {solvertest.DialTo(solvertest.ServeHTTP(t, solvertest.Site())), diagnose.CauseOtherServer},
		"a loop":           {solvertest.DialTo(solvertest.ServeHTTP(t, redirect("/"))), diagnose.CauseRedirectLoop},
		"another port":     {solvertest.DialTo(solvertest.ServeHTTP(t, redirect("http://example.com:8080/"))), diagnose.CauseRedirect},
		"no HTTP":          {solvertest.DialTo(solvertest.ServeRaw(t, "SSH-2.0\r\n")), diagnose.CauseBrokenServer},
		"closed":           {failing(refused), diagnose.CausePortClosed},
		"filtered":         {failing(os.ErrDeadlineExceeded), diagnose.CausePortFiltered},
		"no such name":     {failing(&net.DNSError{Err: "no such host", Name: "example.com", IsNotFound: true}), diagnose.CauseNoAddress},
		"a DNS that fails": {failing(&net.DNSError{Err: "server misbehaving", Name: "example.com"}), ""},
		"no route":         {failing(errUnroutable), ""},
	} {
		err := diagnose.Visible(t.Context(), solvertest.NewProof(acme.TypeHTTP01, "example.com"), diagnose.Vantage{Dial: test.dial})
		cause, ok := errors.AsType[diagnose.Cause](err)
		if err == nil || ok != (test.want != "") || cause != test.want {
			t.Errorf("%s: the cause is %q, want %q: %v", name, cause, test.want, err)
		}
	}
}

// With a DNS, hosts are looked up in it, and each is asked at an address of each family.
func TestVisibleByADNS(t *testing.T) {
	w := newWorld(t)
	solvertest.Present(t, w.http01, overHTTP)
	w.site(redirect("http://www.example.com/answer"))
	w.add("www.example.com", "AAAA", "2001:db8::7")
	w.add("www.example.com", "A", "192.0.2.7")
	w.fail("[2001:db8::7]:80", errUnroutable)
	w.put("192.0.2.7:80", solvertest.ServeHTTP(t, respond(200, overHTTP.KeyAuthorization)))
	if err := diagnose.Visible(t.Context(), overHTTP, w.vantage()); err != nil {
		t.Error(err)
	}
	if want := []string{"192.0.2.1:80", "[2001:db8::7]:80", "192.0.2.7:80"}; !slices.Equal(w.dialed, want) {
		t.Errorf("dialled %q, want %q", w.dialed, want)
	}
	for name, cause := range map[string]diagnose.Cause{"none.example.com": diagnose.CauseNoAddress, "inside.example.com": diagnose.CausePrivateAddress} {
		w.add("inside.example.com", "A", "10.0.0.5")
		if err := diagnose.Visible(t.Context(), solvertest.NewProof(acme.TypeTLSALPN01, name), w.vantage()); !errors.Is(err, cause) {
			t.Errorf("%s: %v, want %s", name, err, cause)
		}
	}
	if n := len(w.dialed); n != 3 {
		t.Errorf("%d were dialled", n)
	}
}

func TestVisibleRefusesDNSChallenges(t *testing.T) {
	solvertest.RequireError(t, diagnose.Visible(t.Context(), overDNS, diagnose.Vantage{}), "dns-01", "Before")
}
