package peers

import (
	"context"
	"crypto/x509"
	"fmt"
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
		OnDemand: func(context.Context, string) error {
			asked.Add(1)
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
		OnDemand: func(context.Context, string) error { return nil },
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

// A manager that forbids a name never hands over the certificate that another one in the process has for it: not while
// that one obtains it, not afterwards, and not where both keep theirs in one storage or use one CA.
func TestManagersApart(t *testing.T) {
	const name, own = "shared.example.test", "own.example.test"
	one := startPebble(t, pebbleSettings{})
	two := startPebble(t, pebbleSettings{})
	tests := []struct {
		name       string
		forbidding *pebble
		storages   [2]storage.Store
	}{
		{"two CAs and two storages", two, [2]storage.Store{new(storage.Memory), new(storage.Memory)}},
		{"two CAs", two, func(s storage.Store) [2]storage.Store { return [2]storage.Store{s, s} }(new(storage.Memory))},
		{"one CA and one storage", one, func(s storage.Store) [2]storage.Store { return [2]storage.Store{s, s} }(new(storage.Memory))},
	}
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			allowed := fmt.Sprintf("test-%d.%s", i, name)
			forbidden := startServer(t, test.forbidding, certmanager.Config{
				Names:   []string{fmt.Sprintf("test-%d.%s", i, own)},
				Storage: test.storages[1],
				OnDemand: func(context.Context, string) error {
					return fmt.Errorf("%w: not on this server", certmanager.ErrDenied)
				},
			})
			forbidden.events.wait(t, certmanager.EventObtained, fmt.Sprintf("test-%d.%s", i, own))
			serving := startServer(t, one, certmanager.Config{
				Names:    []string{fmt.Sprintf("test-%d.managed.example.test", i)},
				Storage:  test.storages[0],
				OnDemand: func(context.Context, string) error { return nil },
			})
			serving.events.wait(t, certmanager.EventObtained, fmt.Sprintf("test-%d.managed.example.test", i)) // it runs
			one.tls.lead("")                                                                                  // the validation waits
			ctx := within(t)
			got := make(chan error, 1)
			go func() {
				_, err := handshake(ctx, one, serving.address, allowed)
				got <- err
			}()
			serving.events.wait(t, certmanager.EventObtaining, allowed)
			if _, err := handshake(ctx, one, forbidden.address, allowed); err == nil {
				t.Error("the certificate was handed over while it was obtained")
			}
			one.tls.lead(serving.address)
			if err := <-got; err != nil {
				t.Fatal(err)
			}
			if _, err := handshake(ctx, one, forbidden.address, allowed); err == nil {
				t.Error("the certificate was handed over")
			}
			if n := len(two.certificates(allowed)); n != 0 {
				t.Errorf("the forbidding manager's CA has issued %d certificates", n)
			}
		})
	}
}
