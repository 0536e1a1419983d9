package certmanager

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/storage"
)

func newTimeoutManager(t *testing.T, policy func(context.Context, Question) error) *Manager {
	t.Helper()
	m, err := New(Config{AgreeToTerms: true, Storage: new(storage.Memory), OnDemand: policy})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func allowAll(context.Context, Question) error { return nil }

func TestSetTimeouts(t *testing.T) {
	type timeouts struct{ header, idle, read, write time.Duration }
	for _, test := range []struct {
		name        string
		policy      func(context.Context, Question) error
		given, want timeouts
	}{
		{"nothing set", nil, timeouts{}, timeouts{header: 30 * time.Second, idle: 2 * time.Minute}},
		{"on demand", allowAll, timeouts{}, timeouts{header: 2 * time.Minute, idle: 2 * time.Minute}},
		{"all set", allowAll, timeouts{1, 2, 3, 4}, timeouts{1, 2, 3, 4}},
		{"ReadTimeout stands for both", nil, timeouts{read: 3}, timeouts{read: 3}},
		{"none wanted", allowAll, timeouts{header: -1, idle: -1}, timeouts{header: -1, idle: -1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := &http.Server{ReadHeaderTimeout: test.given.header, IdleTimeout: test.given.idle, ReadTimeout: test.given.read, WriteTimeout: test.given.write}
			newTimeoutManager(t, test.policy).setTimeouts(srv)
			if got := (timeouts{srv.ReadHeaderTimeout, srv.IdleTimeout, srv.ReadTimeout, srv.WriteTimeout}); got != test.want {
				t.Errorf("%+v, want %+v", got, test.want)
			}
		})
	}
}

// serveInMemory serves until the test ends, and returns a connection to the server.
func serveInMemory(t *testing.T, srv *http.Server, wrap func(net.Listener) net.Listener) net.Conn {
	t.Helper()
	var network acmetest.Network
	ln, err := network.Listen("tcp", "192.0.2.1:80")
	if err != nil {
		t.Fatal(err)
	}
	srv.ErrorLog = log.New(io.Discard, "", 0)
	go srv.Serve(wrap(ln))
	t.Cleanup(func() { srv.Close() })
	conn, err := network.DialContext(t.Context(), "tcp", "192.0.2.1:80")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// hungUpAfter returns how long it takes until the server hangs up.
func hungUpAfter(t *testing.T, conn net.Conn) time.Duration {
	t.Helper()
	begun := time.Now()
	defer time.AfterFunc(time.Hour, func() { conn.Close() }).Stop()
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Errorf("the server has not hung up: %v", err)
	}
	return time.Since(begun)
}

func TestPlainServerHangsUp(t *testing.T) {
	for _, test := range []struct {
		name string
		do   func(conn net.Conn) error
		most time.Duration
	}{
		{"silence", func(net.Conn) error { return nil }, 10 * time.Second},
		{"a header that does not end", func(conn net.Conn) error {
			go func() {
				_, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: example.com\r\nX-Slow: ")
				for err == nil {
					time.Sleep(time.Second)
					_, err = io.WriteString(conn, "x")
				}
			}()
			return nil
		}, 10 * time.Second},
		{"a body that does not come", func(conn net.Conn) error {
			_, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 100\r\n\r\n")
			if err == nil {
				_, err = http.ReadResponse(bufio.NewReader(conn), nil)
			}
			return err
		}, 10 * time.Second},
		{"an answer that is not read", func(conn net.Conn) error {
			_, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")
			time.Sleep(31 * time.Second)
			return err
		}, time.Second},
		{"no further request", func(conn net.Conn) error {
			_, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")
			if err == nil {
				_, err = http.ReadResponse(bufio.NewReader(conn), nil)
			}
			return err
		}, time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := newTimeoutManager(t, nil).plainServer(&net.TCPAddr{Port: 443}, nil)
				conn := serveInMemory(t, srv, func(ln net.Listener) net.Listener { return ln })
				if err := test.do(conn); err != nil {
					t.Fatal(err)
				}
				if waited := hungUpAfter(t, conn); waited > test.most {
					t.Errorf("the server hung up after %v, want at most %v", waited, test.most)
				}
				conn.Close()
				time.Sleep(time.Second) // the slow client sees it
			})
		})
	}
	t.Run("a header that is too large", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv := newTimeoutManager(t, nil).plainServer(&net.TCPAddr{Port: 443}, nil)
			conn := serveInMemory(t, srv, func(ln net.Listener) net.Listener { return ln })
			go func() {
				_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: example.com\r\nCookie: "+strings.Repeat("x", 300<<10)+"\r\n\r\n")
			}()
			response, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil || response.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
				t.Errorf("answered %+v, %v", response, err)
			}
			time.Sleep(time.Second) // the server hangs up a little later
		})
	})
}

// A client that connects and says nothing is hung up on, but with on-demand certificates not before its handshake's
// patience is over.
func TestHandshakeTimeout(t *testing.T) {
	for name, test := range map[string]struct {
		policy      func(context.Context, Question) error
		least, most time.Duration
	}{
		"configured": {nil, 10 * time.Second, 30 * time.Second},
		"on demand":  {allowAll, handshakeTimeout + time.Second, 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newTimeoutManager(t, test.policy)
				srv := &http.Server{Handler: http.NotFoundHandler()}
				m.setTimeouts(srv)
				conn := serveInMemory(t, srv, func(ln net.Listener) net.Listener { return tls.NewListener(ln, m.TLSConfig()) })
				if waited := hungUpAfter(t, conn); waited < test.least || waited > test.most {
					t.Errorf("the server hung up after %v, want %v to %v", waited, test.least, test.most)
				}
			})
		})
	}
}
