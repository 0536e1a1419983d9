//go:build unix

package peers

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/solver"
)

// A lateListener has a port that refuses connections until open. No other process can take the port meanwhile.
type lateListener struct {
	descriptor int
	addr       *net.TCPAddr
	opened     chan struct{} // closed by open and by Close
	once       sync.Once
	net.Listener
}

func newLateListener(t *testing.T) *lateListener {
	t.Helper()
	descriptor, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	syscall.CloseOnExec(descriptor)
	if err := syscall.Bind(descriptor, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(descriptor)
	if err != nil {
		t.Fatal(err)
	}
	port := name.(*syscall.SockaddrInet4).Port
	return &lateListener{
		descriptor: descriptor,
		addr:       &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port},
		opened:     make(chan struct{}),
	}
}

// open has the port accept connections.
func (l *lateListener) open() (err error) {
	l.once.Do(func() {
		defer close(l.opened)
		if err = syscall.Listen(l.descriptor, syscall.SOMAXCONN); err != nil {
			return
		}
		file := os.NewFile(uintptr(l.descriptor), "listener")
		defer file.Close() // FileListener works on a copy
		l.Listener, err = net.FileListener(file)
	})
	return err
}

// Addr returns the address, also before the port is open.
func (l *lateListener) Addr() net.Addr { return l.addr }

// Accept waits until the port is open, then for a connection.
func (l *lateListener) Accept() (net.Conn, error) {
	<-l.opened
	if l.Listener == nil {
		return nil, fmt.Errorf("accept: %w", net.ErrClosed)
	}
	return l.Listener.Accept()
}

// Close closes the port, open or not.
func (l *lateListener) Close() error {
	var err error
	l.once.Do(func() {
		err = syscall.Close(l.descriptor)
		close(l.opened)
	})
	if l.Listener != nil {
		err = l.Listener.Close()
	}
	return err
}

// A server that starts while its CA is down gets its certificate once the CA is up, without being restarted.
func TestOutage(t *testing.T) {
	const name = "patient.example.test"
	ca := newLateListener(t)
	p := startPebble(t, pebbleSettings{listener: ca})
	s := startServer(t, p, certmanager.Config{Names: []string{name}})
	event := s.events.wait(t, certmanager.EventFailed, name)
	if event.Err == nil || !event.Next.After(event.Time) {
		t.Errorf("event %+v", event)
	}
	if status := s.settled(t, name); status.Failure == nil || status.Serial != "" {
		t.Errorf("status %+v", status)
	}
	if _, err := handshake(within(t), p, s.address, name); err == nil {
		t.Error("a handshake succeeded while there was no certificate")
	}
	if err := ca.open(); err != nil {
		t.Fatal(err)
	}
	s.events.wait(t, certmanager.EventObtained, name)
	s.served(t, name)
	p.wants(t, 1, 1)
	if status := s.settled(t, name); status.Failure != nil || status.State != certmanager.StateValid {
		t.Errorf("status %+v", status)
	}
}

// Package acme says that the CA can't be reached, and where it was looked for.
func TestIssueOutage(t *testing.T) {
	ca := newLateListener(t)
	p := startPebble(t, pebbleSettings{listener: ca})
	client := newClient(t, p)
	request := acme.Request{Identifiers: identifiers(t, "example.test"), Key: newKey(t), Solvers: []acme.Solver{new(solver.HTTP01)}}
	_, err := client.Issue(within(t), request)
	if !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(err.Error(), ca.addr.String()) {
		t.Errorf("Issue: %v", err)
	}
}
