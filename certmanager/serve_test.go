package certmanager_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/storage"
)

// freeAddrs returns different addresses of the loopback interface that nobody listens on. The ports are below those that systems give to
// outgoing connections, so that none of them takes one meanwhile.
func freeAddrs(t *testing.T, n int) (addrs []string) {
	t.Helper()
	for range 100 {
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.N(20_000)))
		if err != nil {
			continue
		}
		defer ln.Close() // when there are all, or one could be had twice
		if addrs = append(addrs, ln.Addr().String()); len(addrs) == n {
			return addrs
		}
	}
	t.Fatal("no port is free")
	return nil
}

// A site is a server on real sockets, kept by a manager, with a CA that finds it.
type site struct {
	ca            *acmetest.Server
	config        certmanager.Config
	server        *http.Server
	secure, plain string // addresses
	events        chan certmanager.Event
	manager       *certmanager.Manager
	stop          func() error // ends Serve and returns what it returned
}

// newSite prepares a site for the names, which all lead to it.
func newSite(t *testing.T, names ...string) *site {
	t.Helper()
	addrs := freeAddrs(t, 2)
	s := &site{ca: acmetest.NewUnstartedServer(), secure: addrs[0], plain: addrs[1], events: make(chan certmanager.Event, 100)}
	_, tlsPort, _ := net.SplitHostPort(s.secure)
	_, httpPort, _ := net.SplitHostPort(s.plain)
	_, _ = fmt.Sscan(tlsPort, &s.ca.TLSPort)
	_, _ = fmt.Sscan(httpPort, &s.ca.HTTPPort)
	s.ca.Start()
	t.Cleanup(s.ca.Close)
	s.ca.SetHost("*", "127.0.0.1")
	s.config = certmanager.Config{
		Names: names, Issuers: []certmanager.Issuer{&certmanager.ACME{DirectoryURL: s.ca.URL, HTTPClient: s.ca.Client()}}, AgreeToTerms: true, Storage: new(storage.Memory), HTTPAddr: s.plain,
		Logger: slog.New(slog.DiscardHandler), OnEvent: func(e certmanager.Event) { s.events <- e },
		Vantage: new(zones).vantage(func(ctx context.Context, network, address string) (net.Conn, error) {
			ports := map[string]string{"80": s.plain, "443": s.secure}
			_, port, _ := net.SplitHostPort(address)
			return new(net.Dialer).DialContext(ctx, network, ports[port])
		}),
	}
	s.server = &http.Server{Addr: s.secure, ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s over %s", r.Host, r.Proto)
	})}
	return s
}

// serve starts the site and waits until it has the certificates for its names.
func (s *site) serve(t *testing.T) {
	t.Helper()
	ended := s.start(t)
	for range s.config.Names {
		for obtained := false; !obtained; {
			select {
			case e := <-s.events:
				if e.Err != nil && !isOfSlowMachine(e) {
					t.Fatalf("%s: %v", e.Kind, e.Err)
				}
				obtained = e.Kind == certmanager.EventObtained
			case err := <-ended:
				t.Fatalf("Serve: %v", err)
			}
		}
	}
}

// isOfSlowMachine reports whether all that the event says is that the CA has validated before the manager had seen the answer, for which
// that has a second. That something looks wrong is another warning, which comes before.
func isOfSlowMachine(e certmanager.Event) bool {
	return e.Kind == certmanager.EventWarning && strings.Contains(e.Err.Error(), "or did not show in time")
}

// start makes the manager and has it serve. What it returns receives the error of Serve.
func (s *site) start(t *testing.T) (ended <-chan error) {
	t.Helper()
	m, err := certmanager.New(s.config)
	if err != nil {
		t.Fatal(err)
	}
	s.manager = m
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- m.Serve(ctx, s.server) }()
	s.stop = sync.OnceValue(func() error {
		cancel()
		return <-result
	})
	t.Cleanup(func() { _ = s.stop() })
	return result
}

// mustStop stops it, without an error.
func (s *site) mustStop(t *testing.T) {
	t.Helper()
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}

// client returns a client that finds the site by any name.
func (s *site) client(t *testing.T) *http.Client {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
		},
		TLSClientConfig:   &tls.Config{RootCAs: s.ca.Roots()},
		ForceAttemptHTTP2: true,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func get(t *testing.T, client *http.Client, url string) (*http.Response, string) {
	t.Helper()
	response, err := client.Get(url)
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

func port(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

func TestServe(t *testing.T) {
	s := newSite(t, "example.com", "www.example.com", "127.0.0.1")
	s.serve(t)
	client := s.client(t)
	for _, name := range s.config.Names {
		_, body := get(t, client, "https://"+net.JoinHostPort(name, port(s.secure)))
		if !strings.HasSuffix(body, "over HTTP/2.0") {
			t.Errorf("%s: %q", name, body)
		}
	}
	if s.server.TLSConfig == nil || statuses(s.manager)[0].State != certmanager.StateValid {
		t.Error("the server has no tls.Config, or there is no certificate")
	}
	if s.server.ReadHeaderTimeout <= 0 || s.server.IdleTimeout <= 0 {
		t.Error("the server lacks timeouts")
	}
	s.mustStop(t)
	for _, addr := range []string{s.secure, s.plain} {
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			t.Errorf("after the end: %v", err)
			continue
		}
		ln.Close()
	}
}

// TestServeRedirects shows what plain HTTP is answered: the same URL by HTTPS, and nothing else.
func TestServeRedirects(t *testing.T) {
	s := newSite(t, "example.com")
	s.serve(t)
	secure := port(s.secure)
	for _, test := range []struct {
		method, host, target string
		status               int
		location             string
	}{
		{"GET", "example.com", "/a/b?c=d&e=%2f", 302, "https://example.com:" + secure + "/a/b?c=d&e=%2f"},
		{"HEAD", "Example.com:80", "/", 302, "https://example.com:" + secure + "/"},
		{"GET", "www.example.com:8080", "/%2e%2e/%41", 302, "https://www.example.com:" + secure + "/%2e%2e/%41"},
		{"GET", "127.0.0.1", "/", 302, "https://127.0.0.1:" + secure + "/"},
		{"GET", "[2001:db8::1]", "/", 302, "https://[2001:db8::1]:" + secure + "/"},
		{"GET", "[2001:DB8::1]:80", "//example.org/", 302, "https://[2001:db8::1]:" + secure + "//example.org/"},
		{"GET", "example.com", "/.well-known/acme-challenge/unknown", 302, "https://example.com:" + secure + "/.well-known/acme-challenge/unknown"},
		{"POST", "example.com", "/", 400, ""},
		{"PUT", "example.com", "/", 400, ""},
		{"OPTIONS", "example.com", "*", 400, ""},
		{"GET", "", "/", 400, ""},
		{"GET", "exa_mple.com", "/", 302, "https://exa_mple.com:" + secure + "/"},
		{"GET", "_dmarc.-.Example.com.", "/", 302, "https://_dmarc.-.example.com:" + secure + "/"},
		{"GET", "localhost:80", "/", 302, "https://localhost:" + secure + "/"},
		{"GET", "[fe80::1%25eth0]", "/", 400, ""},
		{"GET", "example.com:80:81", "/", 400, ""},
		{"GET", "example.com\\@example.org", "/", 400, ""},
		{"GET", "example.com?", "/", 400, ""},
		{"GET", "._-", "/", 400, ""},
		{"GET", strings.Repeat("a.", 127) + "a", "/", 400, ""},
		{"GET", "*.example.com", "/", 400, ""},
		{"GET", "example.com@example.org", "/", 400, ""},
		{"GET", "example.com/path", "/", 400, ""},
		{"GET", "-", "/", 400, ""},
	} {
		response := raw(t, s.plain, fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", test.method, test.target, test.host))
		if response.StatusCode != test.status || response.Header.Get("Location") != test.location {
			t.Errorf("%s %s of %q: %d, location %q; want %d, %q", test.method, test.target, test.host, response.StatusCode, response.Header.Get("Location"), test.status, test.location)
		}
	}
}

// A server of one's own has the same for port 80, by HTTPHandler alone.
func TestHTTPHandlerRedirects(t *testing.T) {
	s := newSite(t, "example.com")
	m, err := certmanager.New(s.config)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		method, url string
		status      int
		location    string
	}{
		{"GET", "http://example.com:80/a/b?c=d&e=%2f", 302, "https://example.com/a/b?c=d&e=%2f"},
		{"HEAD", "http://[2001:db8::1]/", 302, "https://[2001:db8::1]/"},
		{"GET", "http://example.com/.well-known/acme-challenge/unknown", 302, "https://example.com/.well-known/acme-challenge/unknown"},
		{"POST", "http://example.com/", 400, ""},
	} {
		for _, handler := range []http.Handler{m.HTTPHandler(nil), new(certmanager.Manager).HTTPHandler(nil)} {
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, httptest.NewRequest(test.method, test.url, nil))
			if answer.Code != test.status || answer.Header().Get("Location") != test.location {
				t.Errorf("%s %s: %d, location %q; want %d, %q", test.method, test.url, answer.Code, answer.Header().Get("Location"), test.status, test.location)
			}
		}
	}
}

// raw sends a request as it is.
func raw(t *testing.T, addr, request string) *http.Response {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response
}

// TestServeEndsGracefully has a request under way when Serve is to end: it is answered.
func TestServeEndsGracefully(t *testing.T) {
	s := newSite(t, "example.com")
	arrived, finish := make(chan struct{}), make(chan struct{})
	s.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-finish
		fmt.Fprint(w, "answered")
	})
	ending := make(chan struct{})
	s.server.RegisterOnShutdown(func() { close(ending) })
	s.serve(t)
	answer := make(chan string, 1)
	go func() {
		response, err := s.client(t).Get("https://example.com:" + port(s.secure))
		if err != nil {
			answer <- err.Error()
			return
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		answer <- string(body)
	}()
	<-arrived
	ended := make(chan error, 1)
	go func() { ended <- s.stop() }()
	<-ending
	select {
	case err := <-ended:
		t.Errorf("Serve ended with a request under way: %v", err)
	default:
	}
	close(finish)
	if got := <-answer; got != "answered" {
		t.Errorf("the request under way: %s", got)
	}
	if err := <-ended; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// TestServeOwnTLSConfig shows that a server's own tls.Config is kept, with what the manager needs added.
func TestServeOwnTLSConfig(t *testing.T) {
	s := newSite(t, "example.com")
	own := &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}}
	s.server.TLSConfig = own
	s.serve(t)
	if len(own.NextProtos) != 1 || own.GetCertificate != nil {
		t.Error("the tls.Config that was given was changed; it may be shared")
	}
	dial := func(config *tls.Config) (tls.ConnectionState, error) {
		config.ServerName, config.RootCAs = "example.com", s.ca.Roots()
		conn, err := tls.Dial("tcp", s.secure, config)
		if err != nil {
			return tls.ConnectionState{}, err
		}
		defer conn.Close()
		return conn.ConnectionState(), nil
	}
	if _, err := dial(&tls.Config{MaxVersion: tls.VersionTLS12}); err == nil {
		t.Error("MinVersion was not kept")
	}
	if state, err := dial(&tls.Config{NextProtos: []string{"http/1.1"}}); err != nil || state.NegotiatedProtocol != "http/1.1" {
		t.Errorf("http/1.1: %q, %v", state.NegotiatedProtocol, err)
	}
}

// TestServeWithoutHTTP2 shows that a server which was told not to speak HTTP/2 does not offer it.
func TestServeWithoutHTTP2(t *testing.T) {
	for name, without := range map[string]func(srv *http.Server){
		"by TLSNextProto": func(srv *http.Server) {
			srv.TLSNextProto = make(map[string]func(*http.Server, *tls.Conn, http.Handler))
		},
		"by Protocols": func(srv *http.Server) {
			srv.Protocols = new(http.Protocols)
			srv.Protocols.SetHTTP1(true)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, "example.com")
			without(s.server)
			s.serve(t)
			response, body := get(t, s.client(t), "https://example.com:"+port(s.secure))
			if response.ProtoMajor != 1 || !strings.HasSuffix(body, "over HTTP/1.1") {
				t.Errorf("%s: %q", response.Proto, body)
			}
		})
	}
}

// TestServePortTaken has another listen where the server is to: the error says where and what to do,
// and nothing is ordered or left open.
func TestServePortTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, plain := range []bool{false, true} {
		s := newSite(t, "example.com")
		cure := "http.Server.Addr"
		if plain {
			s.config.HTTPAddr, cure = taken.Addr().String(), "Config.HTTPAddr"
		} else {
			s.server.Addr = taken.Addr().String()
		}
		m, err := certmanager.New(s.config)
		if err != nil {
			t.Fatal(err)
		}
		err = m.Serve(t.Context(), s.server)
		for _, want := range []string{taken.Addr().String(), cure, "CAP_NET_BIND_SERVICE"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("the error does not name %s: %v", want, err)
			}
		}
		if n := len(s.ca.Requests()); n != 0 {
			t.Errorf("the CA was asked: %v", s.ca.Requests())
		}
		for _, addr := range []string{s.secure, s.plain} {
			ln, err := net.Listen("tcp", addr)
			if err != nil {
				t.Errorf("left open: %v", err)
				continue
			}
			ln.Close()
		}
	}
}

// TestServeHTTPOff leaves plain HTTP out.
func TestServeHTTPOff(t *testing.T) {
	s := newSite(t, "example.com")
	s.config.NoHTTP, s.config.HTTPAddr = true, ""
	s.serve(t)
	if conn, err := net.DialTimeout("tcp", s.plain, time.Second); err == nil {
		conn.Close()
		t.Error("something listens for plain HTTP")
	}
}

// TestHTTP01 obtains by http-01: by the handler on the user's server, on Serve's own, and by a listener
// of the solver's.
func TestHTTP01(t *testing.T) {
	t.Run("Serve", func(t *testing.T) {
		s := newSite(t, "example.com")
		s.config.Solvers = []acme.Solver{&solver.HTTP01{Storage: s.config.Storage}}
		s.serve(t)
	})
	t.Run("a listener of its own", func(t *testing.T) {
		s := newSite(t, "example.com")
		s.config.Solvers = []acme.Solver{&solver.HTTP01{Addr: s.plain}}
		s.config.NoHTTP, s.config.HTTPAddr = true, ""
		s.serve(t)
	})
	t.Run("HTTPHandler", func(t *testing.T) {
		s := newSite(t, "example.com")
		s.config.Solvers = []acme.Solver{new(solver.HTTP01)}
		m, err := certmanager.New(s.config)
		if err != nil {
			t.Fatal(err)
		}
		ln, err := net.Listen("tcp", s.plain)
		if err != nil {
			t.Fatal(err)
		}
		own := &http.Server{Handler: m.HTTPHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "the server's own page")
		}))}
		var group sync.WaitGroup
		defer group.Wait()
		defer own.Close()
		group.Go(func() { _ = own.Serve(ln) })
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		group.Go(func() {
			if err := m.Run(ctx); err != nil {
				t.Errorf("Run: %v", err)
			}
		})
		for e := range s.events {
			if e.Err != nil && !isOfSlowMachine(e) {
				t.Fatal(e.Err)
			}
			if e.Kind == certmanager.EventObtained {
				break
			}
		}
		if _, body := get(t, http.DefaultClient, "http://"+s.plain+"/"); body != "the server's own page" {
			t.Errorf("the server's own page is now %q", body)
		}
	})
}

// TestServeStorageFails shows that Serve ends where the manager does.
func TestServeStorageFails(t *testing.T) {
	s := newSite(t, "example.com")
	s.config.Storage = failingSaves(s.config.Storage, "probe", 0, false)
	m, err := certmanager.New(s.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Serve(t.Context(), s.server); !errors.Is(err, errDisk) {
		t.Errorf("Serve: %v", err)
	}
	ln, err := net.Listen("tcp", s.secure)
	if err != nil {
		t.Fatalf("left open: %v", err)
	}
	ln.Close()
}
