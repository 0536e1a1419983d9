package peers

import (
	"context"
	"crypto/x509"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// A heardListener tells of each connection on which a client has said something.
type heardListener struct {
	net.Listener
	heard chan struct{}
}

func (l heardListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &heardConn{Conn: conn, heard: l.heard}, nil
}

type heardConn struct {
	net.Conn
	once  sync.Once
	heard chan struct{}
}

func (c *heardConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.once.Do(func() { c.heard <- struct{}{} })
	}
	return n, err
}

// receive fails the test unless n values come.
func receive(t *testing.T, c <-chan struct{}, n int, of string) {
	t.Helper()
	timeout := time.After(patience)
	for i := range n {
		select {
		case <-c:
		case <-timeout:
			t.Fatalf("%d %s, want %d", i, of, n)
		}
	}
}

// Fifty handshakes for a name that has no certificate wait for one and the same order, which goes on though the client
// that began it hangs up while the CA validates.
func TestOnDemand(t *testing.T) {
	const clients, name, managed = 50, "shop.example.test", "managed.example.test"
	p := startPebble(t, pebbleSettings{})
	var asked atomic.Int64
	ln := heardListener{listen(t), make(chan struct{}, clients+10)}
	s := startServerOn(t, ln, p, certmanager.Config{
		Names: []string{managed},
		OnDemand: func(_ context.Context, q certmanager.Question) error {
			if q.Name == name { // and not the random one that Run begins with
				asked.Add(1)
			}
			return nil
		},
	})
	s.events.wait(t, certmanager.EventObtained, managed) // it runs
	for len(ln.heard) > 0 {
		<-ln.heard // the CA's
	}
	p.tls.lead("") // the validation waits

	ctx := within(t)
	first, hangUp := context.WithCancel(ctx)
	firstErr := make(chan error, 1)
	go func() {
		_, err := handshake(first, p, s.address, name)
		firstErr <- err
	}()
	s.events.wait(t, certmanager.EventObtaining, name)
	leaves := make(chan *x509.Certificate, clients)
	errs := make(chan error, clients)
	for range clients - 1 {
		go func() {
			leaf, err := handshake(ctx, p, s.address, name)
			leaves <- leaf
			errs <- err
		}()
	}
	receive(t, ln.heard, clients, "clients were heard")
	hangUp()
	if err := <-firstErr; err == nil {
		t.Fatal("the first client got a certificate before the CA had issued one")
	}
	p.tls.lead(s.address)
	for range clients - 1 {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
		if leaf := <-leaves; !leaf.Equal(p.certificates(name)[0]) {
			t.Fatal("a client got another certificate than the one the CA has issued")
		}
	}
	p.wants(t, 2, 2)
	if n := asked.Load(); n != 1 {
		t.Errorf("OnDemand was asked %d times, want once", n)
	}
	if status := s.settled(t, name); !status.OnDemand || status.State != certmanager.StateValid {
		t.Errorf("status %+v", status)
	}
}

// A certificate that was obtained on demand is there after a restart, for the asking and without an order.
func TestOnDemandRestart(t *testing.T) {
	const name, managed = "shop.example.test", "managed.example.test"
	p := startPebble(t, pebbleSettings{})
	config := certmanager.Config{
		Names:    []string{managed},
		Storage:  storage.Dir(t.TempDir()),
		OnDemand: func(context.Context, certmanager.Question) error { return nil },
	}
	s := startServer(t, p, config)
	s.events.wait(t, certmanager.EventObtained, managed) // it runs
	before := s.served(t, name)
	s.stop()
	s = startServer(t, p, config)
	s.events.wait(t, certmanager.EventLoaded, managed)
	if after := s.served(t, name); !after.Equal(before) {
		t.Error("another certificate is served after the restart")
	}
	p.wants(t, 2, 2)
}
