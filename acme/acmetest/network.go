package acmetest

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
)

// A Network connects clients and servers of one process without sockets, so that a bubble of
// [testing/synctest] can do with them. The zero Network is ready for use. Its hosts are IP addresses or names,
// which it does not resolve; they need not be made known.
//
// Connections are those of [net.Pipe], with addresses: they have no buffer, and they keep deadlines.
type Network struct {
	mu        sync.Mutex                  // guards what follows
	listeners map[string]*networkListener // by address; without a host: for all that have no other
	lastPort  uint16                      // that was chosen for a client or a listener
}

// firstPort is the first of the ports that are chosen (RFC 6335 §6).
const firstPort = 49152

// Listen returns a listener at a host and a port. With no host, as in ":443", or an unspecified one it gets the
// connections to all hosts that have no listener of their own at the port; port 0 is one that is free. The
// network must be "tcp", "tcp4" or "tcp6". An address that has a listener is an error.
func (n *Network) Listen(network, address string) (net.Listener, error) {
	host, port, err := splitAddress(network, address)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if port == 0 {
		port = n.choosePort()
	}
	l := &networkListener{addr: addrOf(host, port), conns: make(chan net.Conn), closed: make(chan struct{})}
	key := listenerKey(host, port)
	if n.listeners[key] != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: l.addr, Err: syscall.EADDRINUSE}
	}
	if n.listeners == nil {
		n.listeners = make(map[string]*networkListener)
	}
	n.listeners[key] = l
	l.close = sync.OnceFunc(func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.listeners, key)
		close(l.closed)
	})
	return l, nil
}

// DialContext connects to the listener at the address. It waits until that accepts the connection or ctx ends,
// and returns an error that is [syscall.ECONNREFUSED] if there is none.
func (n *Network) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	failed := func(err error) (net.Conn, error) { return nil, &net.OpError{Op: "dial", Net: network, Err: err} }
	host, port, err := splitAddress(network, address)
	if err != nil {
		return failed(err)
	}
	n.mu.Lock()
	l := n.listeners[listenerKey(host, port)]
	if l == nil {
		l = n.listeners[listenerKey("", port)]
	}
	from := addrOf("127.0.0.1", n.choosePort())
	n.mu.Unlock()
	if l == nil {
		return failed(fmt.Errorf("%s: %w", address, syscall.ECONNREFUSED))
	}
	client, server := net.Pipe()
	to := addrOf(host, port)
	select {
	case l.conns <- &networkConn{Conn: server, local: to, remote: from}:
		return &networkConn{Conn: client, local: from, remote: to}, nil
	case <-l.closed:
		return failed(fmt.Errorf("%s: %w", address, syscall.ECONNREFUSED))
	case <-ctx.Done():
		return failed(ctx.Err())
	}
}

// choosePort returns a port without a listener for all hosts. It is called with n.mu held.
func (n *Network) choosePort() uint16 {
	for {
		n.lastPort = max(n.lastPort+1, firstPort)
		if n.listeners[listenerKey("", n.lastPort)] == nil {
			return n.lastPort
		}
	}
}

func splitAddress(network, address string) (host string, port uint16, err error) {
	switch network {
	case "tcp", "tcp4", "tcp6":
	default:
		return "", 0, net.UnknownNetworkError(network)
	}
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	number, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return "", 0, &net.AddrError{Err: "the port is not a number up to 65535", Addr: address}
	}
	return host, uint16(number), nil
}

// listenerKey returns what a listener is found by.
func listenerKey(host string, port uint16) string {
	if addr, err := netip.ParseAddr(host); err == nil {
		host = addr.Unmap().String()
		if addr.IsUnspecified() {
			host = ""
		}
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

// addrOf returns the address of a host, which may be a name.
func addrOf(host string, port uint16) net.Addr {
	if addr, err := netip.ParseAddr(host); err == nil {
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, port))
	}
	if host == "" {
		return &net.TCPAddr{Port: int(port)}
	}
	return namedAddr(net.JoinHostPort(host, strconv.Itoa(int(port))))
}

// A namedAddr is an address whose host is a name.
type namedAddr string

func (namedAddr) Network() string  { return "tcp" }
func (a namedAddr) String() string { return string(a) }

// A networkListener takes connections from Network.DialContext.
type networkListener struct {
	addr   net.Addr
	conns  chan net.Conn
	closed chan struct{}
	close  func() // closes closed, once
}

func (l *networkListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.addr, Err: net.ErrClosed}
	}
}

func (l *networkListener) Close() error {
	l.close()
	return nil
}

func (l *networkListener) Addr() net.Addr { return l.addr }

// A networkConn is one end of a pipe.
type networkConn struct {
	net.Conn
	local, remote net.Addr
}

func (c *networkConn) LocalAddr() net.Addr  { return c.local }
func (c *networkConn) RemoteAddr() net.Addr { return c.remote }
