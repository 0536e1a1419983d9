package dnsserver

import (
	"context"
	"io"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"

	"golang.org/x/net/dns/dnsmessage"
)

// A datagram is on its way in memory.
type datagram struct {
	message []byte
	peer    net.Addr
}

// A memorySocket is a socket for UDP of a test whose time is not the machine's.
type memorySocket struct {
	net.PacketConn
	in, out chan datagram
	closed  chan struct{}
}

func newMemorySocket() *memorySocket {
	return &memorySocket{in: make(chan datagram), out: make(chan datagram, 10_000), closed: make(chan struct{})}
}

func (s *memorySocket) ReadFrom(buffer []byte) (int, net.Addr, error) {
	select {
	case d := <-s.in:
		return copy(buffer, d.message), d.peer, nil
	case <-s.closed:
		return 0, nil, net.ErrClosed
	}
}

func (s *memorySocket) WriteTo(message []byte, to net.Addr) (int, error) {
	s.out <- datagram{message, to}
	return len(message), nil
}

func (s *memorySocket) Close() error {
	select {
	case <-s.closed:
	default:
		close(s.closed)
	}
	return nil
}

// ask sends a question from an address, and returns the answer to it, or nil if none comes before everything rests.
func (s *memorySocket) ask(t testing.TB, message []byte, from string) *dnsmessage.Message {
	t.Helper()
	s.in <- datagram{message, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(from))}
	synctest.Wait()
	select {
	case d := <-s.out:
		if d.peer.String() != from {
			t.Fatalf("an answer went to %v, want %s", d.peer, from)
		}
		return unpack(t, d.message)
	default:
		return nil
	}
}

// A memoryListener has clients in memory.
type memoryListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newMemoryListener() *memoryListener {
	return &memoryListener{make(chan net.Conn), make(chan struct{})}
}

func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memoryListener) Addr() net.Addr { return nil }

func (l *memoryListener) Close() error {
	select {
	case <-l.closed:
	default:
		close(l.closed)
	}
	return nil
}

// A memoryConn is the server's side of a connection from an address.
type memoryConn struct {
	net.Conn
	peer net.Addr
}

func (c memoryConn) RemoteAddr() net.Addr { return c.peer }

// connect returns the client's side of a new connection.
func (l *memoryListener) connect(t testing.TB, from string) net.Conn {
	t.Helper()
	client, server := net.Pipe()
	l.conns <- memoryConn{server, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from))}
	t.Cleanup(func() { client.Close() })
	return client
}

// isOpen reports whether the server has not closed a connection on which it has nothing to say.
func isOpen(conn net.Conn) bool {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		io.Copy(io.Discard, conn)
	}()
	synctest.Wait()
	select {
	case <-ended:
		return false
	default:
		return true
	}
}

// inMemory has the server answer in a bubble, until test returns.
func inMemory(t *testing.T, s *Server, test func(t *testing.T, packets *memorySocket, listener *memoryListener)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		packets, listener := newMemorySocket(), newMemoryListener()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Serve(ctx, packets, listener) }()
		test(t, packets, listener)
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}
