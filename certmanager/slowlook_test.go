package certmanager_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/solver"
)

func hangDial(ctx context.Context, _, _ string) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// startOwn is start with a server of the user's own, by TLSConfig.
func (w *world) startOwn(config certmanager.Config) (m *certmanager.Manager, stop func()) {
	m, err := certmanager.New(config)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	listener := newPipeListener()
	w.mu.Lock()
	w.listener = listener
	w.mu.Unlock()
	var group sync.WaitGroup
	group.Go(func() { m.Run(ctx) })
	group.Go(func() { serveHandshakes(tls.NewListener(listener, m.TLSConfig())) })
	return m, func() { cancel(); listener.Close(); group.Wait() }
}

// From inside, port 443 of the public address is the router's own page; the CA reaches this process.
func TestHairpinToTheRouter(t *testing.T) {
	inBubbleWorld(t, func(t *testing.T, w *world) {
		router := newPipeListener()
		defer router.Close()
		go func() {
			for {
				conn, err := router.Accept()
				if err != nil {
					return
				}
				go func() {
					tls.Server(conn, &tls.Config{NextProtos: []string{"http/1.1"}, Certificates: []tls.Certificate{{}}}).Handshake()
					conn.Close()
				}()
			}
		}()
		inside := func(ctx context.Context, _, _ string) (net.Conn, error) { return router.dial(ctx) }
		config := w.config("example.com")
		config.Solvers = []acme.Solver{new(solver.TLSALPN01)}
		config.Vantage.Dial = inside
		_, stop := w.startOwn(config)
		defer stop()
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := w.count(certmanager.EventObtained); n == 0 {
			t.Error("no certificate in an hour, though the CA would validate, and Preflight is warn")
		}
	})
}

// A port that is filtered shows by its silence, which takes its time.
func TestRequireSeesAFilteredPort(t *testing.T) {
	inBubbleWorld(t, func(t *testing.T, w *world) {
		config := w.config("example.com")
		config.Preflight = certmanager.PreflightRequire
		config.Solvers = []acme.Solver{new(solver.TLSALPN01)}
		config.Vantage.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			select {
			case <-ctx.Done():
			case <-time.After(time.Hour):
			}
			return nil, ctx.Err()
		}
		// DNS takes a moment
		dial := config.Vantage.DNS.Dial
		config.Vantage.DNS.Dial = func(ctx context.Context, n, a string) (net.Conn, error) {
			time.Sleep(20 * time.Millisecond)
			return dial(ctx, n, a)
		}
		_, stop := w.startOwn(config)
		defer stop()
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := w.ca.Requests()["challenge"]; n != 0 {
			t.Errorf("the CA was asked to validate %d times at a port that is filtered", n)
		}
	})
}

// Where no way leads back from inside, that is learnt from the first certificate that comes.
func TestHairpinSilent(t *testing.T) {
	inBubbleWorld(t, func(t *testing.T, w *world) {
		config := w.config()
		config.OnDemand = func(context.Context, certmanager.Question) error { return nil }
		config.Solvers = []acme.Solver{new(solver.TLSALPN01)}
		config.Vantage.Dial = hangDial
		dial := config.Vantage.DNS.Dial
		config.Vantage.DNS.Dial = func(ctx context.Context, n, a string) (net.Conn, error) {
			time.Sleep(20 * time.Millisecond)
			return dial(ctx, n, a)
		}
		_, stop := w.startOwn(config)
		defer stop()
		time.Sleep(time.Second)
		for i := range 4 {
			begun := time.Now()
			if _, err := w.handshake(t.Context(), fmt.Sprintf("n%d.example.com", i)); err != nil {
				t.Fatal(err)
			}
			took := time.Since(begun)
			if i == 3 && took > 5*time.Second {
				t.Errorf("the fourth handshake took %v longer by looking", took)
			}
		}
	})
}

// Dead DNS costs one look, not one for each name and renewal.
func TestDeadDNS(t *testing.T) {
	for _, n := range []int{1, 100} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			inBubbleWorld(t, func(t *testing.T, w *world) {
				var names []string
				for i := range n {
					names = append(names, fmt.Sprintf("n%d.example.com", i))
				}
				config := w.config()
				config.Subjects = []certmanager.Subject{{Names: names}}
				config.Solvers = []acme.Solver{new(solver.TLSALPN01)}
				config.Vantage.DNS.Dial = hangDial
				m, stop := w.startOwn(config)
				defer stop()
				w.await(certmanager.EventObtained, names[0], 1)
				begun := time.Now()
				if err := m.Renew(t.Context(), names[0]); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(begun); took > 5*time.Second {
					t.Errorf("the renewal took %v", took)
				}
			})
		})
	}
}

// a lego provider that is sequential, with lego's usual minute between two.
type slowLego struct{ n atomic.Int32 }

func (*slowLego) Sequential() time.Duration { return time.Minute }

func (l *slowLego) Present(_ context.Context, domain, token, keyAuth string) error {
	l.n.Add(1)
	return nil
}

func (*slowLego) CleanUp(context.Context, string, string, string) error { return nil }

// A lego provider that wants a minute between two records can do more than ten names.
func TestSequentialManyNames(t *testing.T) {
	inBubbleWorld(t, func(t *testing.T, w *world) {
		var names []string
		for i := range 15 {
			names = append(names, fmt.Sprintf("*.n%d.example.com", i))
		}
		config := w.config()
		config.Preflight = certmanager.PreflightOff
		config.Subjects = []certmanager.Subject{{Names: names}}
		provider := &slowLego{}
		lego := solver.LegoV5(provider)
		lego.Propagation.Off = true
		config.Solvers = []acme.Solver{lego}
		_, stop := w.start(config)
		defer stop()
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		if n := w.ca.Requests()["challenge"]; n == 0 {
			t.Errorf("15 names were never all presented; %d presents in three hours", provider.n.Load())
		}
	})
}

func TestFirstLookUsesTheVantage(t *testing.T) {
	inBubbleWorld(t, func(t *testing.T, w *world) {
		log := new(logs)
		config := w.config("name.invalid")
		config.Logger = log.logger()
		begun := time.Now()
		_, stop := w.startOwn(config)
		defer stop()
		w.await(certmanager.EventObtained, "name.invalid", 1)
		synctest.Wait()
		if took := time.Since(begun); took > 5*time.Second || strings.Contains(log.String(), "can't be seen from here") {
			t.Errorf("after %v, with the log:\n%s", took, log.String())
		}
	})
}
