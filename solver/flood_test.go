package solver

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/solver/internal/challenge"
)

// flood asks for 30 made-up tokens a second until ctx ends, each six times at once. It is waited for by the
// group.
func flood(ctx context.Context, group *sync.WaitGroup, ask func(ctx context.Context, made string)) {
	group.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			for range 6 {
				group.Go(func() { ask(ctx, fmt.Sprint("made", i)) })
			}
			_ = pause(ctx, time.Second/30)
		}
	})
}

// requestFrom is request from an address.
func requestFrom(ctx context.Context, handler http.Handler, token, address string) *httptest.ResponseRecorder {
	recorder := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, challenge.HTTP01Path+token, nil)
	r.RemoteAddr = netip.AddrPortFrom(netip.MustParseAddr(address), 4711).String()
	handler.ServeHTTP(recorder, r)
	return recorder
}

// A conn is one from an address.
type connFrom struct {
	net.Conn
	address string
}

func (c connFrom) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(c.address), 4711))
}

// vantages are the addresses that a CA asks from.
func vantages() map[string][]string {
	return map[string][]string{
		"several places": {"198.51.100.1", "192.0.2.200", "2001:db8:1::1", "2001:db8:1:1::1", "203.0.113.1"},
		"one place":      {"198.51.100.1"},
	}
}

// A flood from one address, of many tokens at once and of each more than once, hides no answer that another
// member of the fleet has presented.
func TestFloodFromOneAddress(t *testing.T) {
	for name, addresses := range vantages() {
		for _, by := range []string{"203.0.113.66", "2001:db8:2::66"} {
			t.Run("http-01, "+name+", by "+by, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					store := &sharedStore{latency: 5 * time.Millisecond}
					h := &HTTP01{Storage: store}
					handler := h.Handler(nil)
					underFlood(t, func(ctx context.Context, made string) { requestFrom(ctx, handler, made, by) }, func(i int) int {
						token := fmt.Sprint("pending", i)
						presentElsewhere(t, store, token)
						return unanswered(addresses, func(address string) bool {
							return requestFrom(t.Context(), handler, token, address).Body.String() == token+".thumbprint"
						})
					})
					requireForgotten(t, &h.gate)
				})
			})
			t.Run("tls-alpn-01, "+name+", by "+by, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					store := &sharedStore{latency: 5 * time.Millisecond}
					s, other := &TLSALPN01{Storage: store}, &TLSALPN01{Storage: &store.Memory}
					hello := newHello(t.Context(), t)
					ask := func(name, address string) (*tls.Certificate, error) {
						from := named(hello, name)
						from.Conn = connFrom{hello.Conn, address}
						return s.GetCertificate(from)
					}
					// The names that a server is for are known: those it has too are asked for.
					made := func(_ context.Context, made string) {
						_, _ = ask(made+".example", by)
						_, _ = ask(fmt.Sprintf("name%c.example", made[len(made)-1]), by)
					}
					underFlood(t, made, func(i int) int {
						name := fmt.Sprintf("name%d.example", i%10)
						p := orderProof(name, fmt.Sprint("ca", i), "account", "token")
						if err := other.Present(t.Context(), p); err != nil {
							t.Fatal(err)
						}
						defer func() { _ = other.CleanUp(t.Context(), p) }()
						return unanswered(addresses, func(address string) bool {
							certificate, err := ask(name, address)
							return err == nil && isAnswer(certificate, p.KeyAuthorization) == nil
						})
					})
					requireForgotten(t, &s.gate)
				})
			})
		}
	}
}

// What one network asked for a moment ago, before it was there, another network's request finds.
func TestFloodByOneWhoKnowsTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const scanner, second = "203.0.113.66", "198.51.100.1"
		store := &sharedStore{latency: 5 * time.Millisecond}
		handler := (&HTTP01{Storage: store}).Handler(nil)
		made := func(ctx context.Context, made string) { requestFrom(ctx, handler, made, scanner) }
		underFlood(t, made, func(i int) int {
			token := fmt.Sprint("known", i)
			if requestFrom(t.Context(), handler, token, second).Code != http.StatusNotFound {
				t.Errorf("%s is not looked for", token) // by the scanner's second address
			}
			presentElsewhere(t, store, token)
			return unanswered([]string{"192.0.2.200"}, func(address string) bool {
				return requestFrom(t.Context(), handler, token, address).Body.String() == token+".thumbprint"
			})
		})
	})
}

// underFlood makes 20 validations one after another during a flood, each of which returns how many of a CA's
// requests had no answer.
func underFlood(t *testing.T, ask func(ctx context.Context, made string), validate func(i int) int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	defer clients.Wait()
	defer cancel()
	flood(ctx, &clients, ask)
	_ = pause(ctx, 30*time.Second) // the burst is used up, and places in the line taken
	failed := 0
	for i := range 20 {
		if validate(i) > 0 {
			failed++
		}
		_ = pause(ctx, 300*time.Millisecond)
	}
	if failed > 0 {
		t.Errorf("of 20 validations %d failed", failed)
	}
}

// unanswered asks from all addresses at once, and returns how often in vain.
func unanswered(addresses []string, ask func(address string) bool) int {
	var vain atomic.Int64
	var places sync.WaitGroup
	for _, address := range addresses {
		places.Go(func() {
			if !ask(address) {
				vain.Add(1)
			}
		})
	}
	places.Wait()
	return int(vain.Load())
}

// Files of the application that are called as tokens are go on being served, and nothing else that it says is taken
// for a file: a CA would take it for the answer.
func TestOwnFilesDuringFlood(t *testing.T) {
	files := http.FileServerFS(fstest.MapFS{
		".well-known/acme-challenge/own":   {Data: []byte("own.thumbprint")},
		".well-known/acme-challenge/empty": {},
	})
	for name, test := range map[string]struct {
		next   http.Handler
		token  string
		status int
		body   string
		header string // value of X-Own
	}{
		"a file":           {next: files, token: "own", status: http.StatusOK, body: "own.thumbprint"},
		"an empty file":    {next: files, token: "empty", status: http.StatusOK},
		"no file":          {next: files, token: "other", status: http.StatusServiceUnavailable},
		"a redirect":       {next: http.RedirectHandler("https://example.com/", http.StatusFound), token: "own", status: http.StatusServiceUnavailable},
		"nothing":          {next: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), token: "own", status: http.StatusServiceUnavailable},
		"a page":           {next: pageHandler("", "<!DOCTYPE html><title>The site</title>"), token: "own", status: http.StatusServiceUnavailable},
		"a page by header": {next: pageHandler("text/html; charset=utf-8", "The site"), token: "own", status: http.StatusServiceUnavailable},
		"not modified": {next: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) }),
			token: "own", status: http.StatusNotModified},
		"a text": {next: pageHandler("text/plain", "own.thumbprint"), token: "own", status: http.StatusOK, body: "own.thumbprint", header: "yes"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				handler := (&HTTP01{Storage: new(sharedStore)}).Handler(test.next)
				ctx, cancel := context.WithCancel(t.Context())
				var clients sync.WaitGroup
				flood(ctx, &clients, func(ctx context.Context, made string) { requestFrom(ctx, handler, made, "203.0.113.66") })
				_ = pause(ctx, 20*time.Second)
				got := requestFrom(ctx, handler, test.token, "203.0.113.66")
				if got.Code != test.status || test.status == http.StatusOK && got.Body.String() != test.body || got.Header().Get("X-Own") != test.header {
					t.Errorf("%d %q %v", got.Code, got.Body, got.Header())
				}
				if test.status != http.StatusOK && got.Header().Get("Location") != "" {
					t.Errorf("of an answer that was refused there is %v", got.Header())
				}
				cancel()
				clients.Wait()
			})
		})
	}
}

// pageHandler answers everything with a text.
func pageHandler(contentType, text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if contentType != "" {
			w.Header().Set("Content-Type", contentType)
		}
		w.Header().Set("X-Own", "yes")
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write([]byte(text))
	})
}

func TestNetworks(t *testing.T) {
	for _, test := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1:1", "192.0.2.255:2", true},
		{"192.0.2.1:1", "192.0.3.1:1", false},
		{"192.0.2.1:1", "[::ffff:192.0.2.7]:1", true},
		{"[2001:db8::1]:1", "[2001:db8::ffff:ffff:ffff:ffff]:1", true},
		{"[2001:db8::1]:1", "[2001:db8:0:1::1]:1", false},
		{"192.0.2.1:1", "192.0.2.9", true}, // as some handlers set RemoteAddr behind a proxy
		{"2001:db8::1", "[2001:db8::2]:1", true},
		{"@", "", true},
		{"@", "192.0.2.1:1", false},
		{"localhost:80", "pipe", true},
	} {
		if same := networkOf(test.a) == networkOf(test.b); same != test.same {
			t.Errorf("%s and %s: one network is %v", test.a, test.b, same)
		}
	}
	if networkOfConn(nil) != 0 || networkOfConn(connFrom{address: "192.0.2.1"}) != networkOf("192.0.2.1:80") {
		t.Error("a connection is of another network than its address")
	}
}
