package acmetest_test

import (
	"context"
	"crypto/elliptic"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
)

// listen has a listener at the address greet all who connect.
func listen(t *testing.T, n *acmetest.Network, address string) net.Listener {
	t.Helper()
	listener, err := n.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, listener.Addr().String()+" for "+conn.LocalAddr().String())
			_ = conn.Close()
		}
	}()
	return listener
}

// reach returns how a server at the address greets.
func reach(t *testing.T, n *acmetest.Network, address string) string {
	t.Helper()
	conn, err := n.DialContext(t.Context(), "tcp", address)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = conn.Close() }()
	if got := conn.RemoteAddr().String(); got != address {
		t.Errorf("the remote address is %s, want %s", got, address)
	}
	greeting, err := io.ReadAll(conn)
	if err != nil {
		t.Error(err)
	}
	return string(greeting)
}

func TestNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n acmetest.Network
		for _, address := range []string{":80", "192.0.2.1:80", "[2001:db8::1]:443", "web.example:443"} {
			listener := listen(t, &n, address)
			defer func() { _ = listener.Close() }()
		}
		free := listen(t, &n, ":0")
		defer func() { _ = free.Close() }()
		synctest.Wait()
		for address, want := range map[string]string{
			"192.0.2.1:80":       "192.0.2.1:80 for 192.0.2.1:80",
			"192.0.2.2:80":       ":80 for 192.0.2.2:80",
			"web.example:80":     ":80 for web.example:80",
			"web.example:443":    "web.example:443 for web.example:443",
			"[2001:db8::1]:443":  "[2001:db8::1]:443 for [2001:db8::1]:443",
			free.Addr().String(): free.Addr().String() + " for " + free.Addr().String(),
		} {
			if got := reach(t, &n, address); got != want {
				t.Errorf("at %s: %q, want %q", address, got, want)
			}
		}
		for address, want := range map[string]error{"192.0.2.1:443": syscall.ECONNREFUSED, "192.0.2.1:81": syscall.ECONNREFUSED} {
			if _, err := n.DialContext(t.Context(), "tcp", address); !errors.Is(err, want) || !strings.Contains(err.Error(), address) {
				t.Errorf("%s: %v, want %v", address, err, want)
			}
		}
	})
}

func TestNetworkRefuses(t *testing.T) {
	var n acmetest.Network
	first, err := n.Listen("tcp", "0.0.0.0:80")
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{":80", "[::]:80", "0.0.0.0:80"} {
		if _, err := n.Listen("tcp", address); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("a second listener at %s: %v", address, err)
		}
	}
	for _, wrong := range [][2]string{{"udp", ":80"}, {"tcp", "example.com"}, {"tcp", ":http"}, {"tcp", ":65536"}, {"tcp", ":-1"}} {
		if _, err := n.Listen(wrong[0], wrong[1]); err == nil {
			t.Errorf("Listen(%q, %q) gives no error", wrong[0], wrong[1])
		}
		if _, err := n.DialContext(t.Context(), wrong[0], wrong[1]); err == nil {
			t.Errorf("DialContext(%q, %q) gives no error", wrong[0], wrong[1])
		}
	}
	for range 2 {
		if err := first.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := first.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v", err)
	}
	again, err := n.Listen("tcp", ":80")
	if err != nil {
		t.Fatalf("a listener where one was closed: %v", err)
	}
	_ = again.Close()
}

// A call waits for its server, no longer than its context and while there is one, and connections keep deadlines.
func TestNetworkWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n acmetest.Network
		listener, err := n.Listen("tcp", ":80")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		began := time.Now()
		if _, err := n.DialContext(ctx, "tcp", "192.0.2.1:80"); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Hour {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		dialed := make(chan net.Conn)
		go func() {
			conn, err := n.DialContext(t.Context(), "tcp", "192.0.2.1:80")
			if err != nil {
				t.Error(err)
			}
			dialed <- conn
		}()
		accepted, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = accepted.Close() }()
		conn := <-dialed
		defer func() { _ = conn.Close() }()
		if accepted.RemoteAddr().String() != conn.LocalAddr().String() || !strings.HasPrefix(conn.LocalAddr().String(), "127.0.0.1:") {
			t.Errorf("the client is %v for the server, and %v for itself", accepted.RemoteAddr(), conn.LocalAddr())
		}
		if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("error %v, want that the deadline has passed", err)
		}
		time.AfterFunc(time.Minute, func() { _ = listener.Close() })
		if _, err := n.DialContext(t.Context(), "tcp", "192.0.2.1:80"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("error %v of a call that was never taken", err)
		}
	})
}

// All that a test in a bubble needs: a network, the server under test in it, and a CA that validates there.
func TestBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var network acmetest.Network
		listener, err := network.Listen("tcp", ":80")
		if err != nil {
			t.Fatal(err)
		}
		solver := new(webServer)
		web := &http.Server{Handler: solver}
		go func() { _ = web.Serve(listener) }()
		defer func() { _ = web.Close() }()

		ca := acmetest.NewUnstartedServer()
		ca.Dial = network.DialContext
		ca.SetHost("*", "192.0.2.1")
		ca.StartInMemory()
		defer ca.Close()
		for range 3 { // half a year and more
			certificate, err := register(ca).Issue(t.Context(), acme.Request{
				Identifiers: []acme.Identifier{{Type: acme.TypeDNS, Value: "example.com"}},
				Key:         newKey(t, elliptic.P256()),
				Solvers:     []acme.Solver{solver},
			})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Until(certificate.Leaf.NotAfter))
		}
		if got := len(ca.Certificates()); got != 3 {
			t.Errorf("%d certificates", got)
		}
	})
}
