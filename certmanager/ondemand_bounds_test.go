package certmanager_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager"
)

// The bounds that the documentation of the package speaks of.
const (
	mostDemands    = 1000  // names being obtained on demand at once
	mostWaiting    = 10000 // handshakes that wait for them
	demandPatience = 90 * time.Second
)

// TestOnDemandBounds has a CA that answers nothing while more clients come than are to wait.
func TestOnDemandBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		front := w.front()
		config := w.onDemand(new(policy))
		config.MaxNewNames = mostDemands
		config.Names, acmeOf(config).HTTPClient = []string{"example.com"}, front.client()
		m, stop := w.running(config)
		w.await(certmanager.EventObtained, "example.com", 1)
		front.answerWith(hang)
		withHello(t, nil, func(hello *tls.ClientHelloInfo) {
			var group sync.WaitGroup
			answers := make(chan error, mostWaiting)
			for i := range mostWaiting {
				group.Go(func() {
					_, err := m.GetCertificate(named(hello, fmt.Sprintf("site-%04d.example.com", i%mostDemands)))
					answers <- err
				})
				if i == mostDemands-1 {
					synctest.Wait()
					if _, err := m.GetCertificate(named(hello, "one-more.example.com")); !tooMany(err) {
						t.Errorf("a name beyond the bound: %v", err)
					}
				}
			}
			synctest.Wait()
			if n := len(answers); n != 0 {
				t.Fatalf("%d of %d handshakes do not wait; one was told: %v", n, mostWaiting, <-answers)
			}
			if _, err := m.GetCertificate(named(hello, "site-0000.example.com")); !tooMany(err) {
				t.Errorf("a handshake beyond the bound: %v", err)
			}
			if _, err := m.GetCertificate(named(hello, "example.com")); err != nil {
				t.Errorf("a name that has its certificate: %v", err)
			}
			began := time.Now()
			stop()
			group.Wait()
			if took := time.Since(began); took > 0 {
				t.Errorf("waiting handshakes ended %v after Run", took)
			}
			for range mostWaiting {
				if err := <-answers; err == nil {
					t.Error("a handshake got a certificate from nowhere")
				}
			}
		})
	})
}

func tooMany(err error) bool { return err != nil && strings.Contains(err.Error(), "too many") }

// TestOnDemandPatience shows that a handshake does not wait for ever, and that its end is not that of
// the work: who comes later gets the certificate.
func TestOnDemandPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		front, release := w.front(), make(chan struct{})
		front.answerWith(untilReleased("newOrder", release))
		config := w.onDemand(new(policy))
		acmeOf(config).HTTPClient = front.client()
		m, stop := w.running(config)
		defer stop()
		began := time.Now()
		_, err := ask(t, m, "example.com")
		if err == nil || !strings.Contains(err.Error(), "being obtained") {
			t.Errorf("a handshake that waited in vain: %v", err)
		}
		if took := time.Since(began); took != demandPatience {
			t.Errorf("it waited for %v, want %v", took, demandPatience)
		}
		close(release)
		if _, err := w.handshake(t.Context(), "example.com"); err != nil {
			t.Error(err)
		}
		if n := front.count("newOrder"); n != 1 {
			t.Errorf("%d orders, want 1", n)
		}
	})
}

// TestOnDemandNotRunning shows what handshakes are told before Run and after it, and that a second Run
// works.
func TestOnDemandNotRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m, err := certmanager.New(w.onDemand(new(policy)))
		if err != nil {
			t.Fatal(err)
		}
		for _, when := range []string{"before Run", "after Run"} {
			if _, err := ask(t, m, "new.example.com"); err == nil || !strings.Contains(err.Error(), "Run") {
				t.Errorf("%s: %v", when, err)
			}
			stop := w.run(m)
			synctest.Wait()
			if _, err := w.handshake(t.Context(), "example.com"); err != nil {
				t.Errorf("while it runs: %v", err)
			}
			stop()
			if _, err := ask(t, m, "example.com"); err != nil {
				t.Errorf("what is in memory is not served after Run: %v", err)
			}
		}
		if n := w.newOrders(); n != 1 {
			t.Errorf("%d orders, want 1", n)
		}
	})
}

// TestOnDemandWhileRunEnds has a client come while Run ends, held up by a policy that does not obey its
// context: the client is told so as soon as Run has ended.
func TestOnDemandWhileRunEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, release := newWorld(t), make(chan struct{})
		config := w.config()
		config.OnDemand = func(context.Context, certmanager.Question) error {
			<-release
			return nil
		}
		m, stop := w.running(config)
		answers := make(chan error, 2)
		client := func(name string) {
			_, err := ask(t, m, name)
			answers <- err
		}
		go client("early.example.com")
		synctest.Wait()
		go stop()
		synctest.Wait()
		go client("late.example.com")
		synctest.Wait()
		if n := len(answers); n != 0 {
			t.Fatalf("%d clients were told something before Run has ended: %v", n, <-answers)
		}
		began := time.Now()
		close(release)
		for range 2 {
			if err := <-answers; err == nil {
				t.Error("a certificate from nowhere")
			}
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("the clients were told %v after Run has ended", took)
		}
		stop()
	})
}

// TestOnDemandAsksPolicyAgain lets an on-demand certificate come to its renewal.
func TestOnDemandAsksPolicyAgain(t *testing.T) {
	const day = 24 * time.Hour
	for _, test := range []struct {
		name   string
		answer error
		orders int // after 75 days
		served bool
	}{
		{"allowed", nil, 2, true},
		{"denied", errForbidden, 1, false},
		{"policy unreachable", errUnreachable, 1, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				var p policy
				m, stop := w.running(w.onDemand(&p))
				defer stop()
				first, err := w.handshake(t.Context(), "example.com")
				if err != nil {
					t.Fatal(err)
				}
				p.set(test.answer)
				time.Sleep(75 * day)
				second, err := w.handshake(t.Context(), "example.com")
				if err != nil {
					t.Fatalf("at day 75: %v", err)
				}
				if n := w.newOrders(); n != test.orders || first.Equal(second) != (n == 1) {
					t.Errorf("%d orders at day 75, want %d; renewed: %t", n, test.orders, !first.Equal(second))
				}
				if p.count() < 2 {
					t.Error("the policy was not asked again")
				}
				if failure := statuses(m)[0].Failure; test.answer != nil && (failure == nil || !errors.Is(failure.Err, test.answer)) {
					t.Errorf("the status does not tell of the policy's answer: %+v", failure)
				} else if failure != nil && strings.Count(failure.Err.Error(), "example.com: ") != 1 {
					t.Errorf("the name is not told once: %v", failure.Err)
				}
				time.Sleep(15*day + time.Minute)
				if certificate, err := ask(t, m, "example.com"); (certificate != nil) != test.served || err != nil {
					t.Errorf("at day 90 a certificate is %t, error %v", certificate != nil, err)
				}
				if test.answer == errForbidden && len(statuses(m)) != 0 {
					t.Errorf("a denied name is still managed: %+v", statuses(m))
				}
			})
		})
	}
}

// TestOnDemandExpiredRecord starts with an expired certificate in the storage that the CA refuses to
// replace and that the policy then denies: nothing of it may stay.
func TestOnDemandExpiredRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var p policy
		_, stop := w.running(w.onDemand(&p))
		if _, err := w.handshake(t.Context(), "example.com"); err != nil {
			t.Fatal(err)
		}
		stop()
		time.Sleep(91 * 24 * time.Hour)
		w.ca.Refuse("example.com")
		m, stop := w.running(w.onDemand(&p))
		defer stop()
		if certificate, err := ask(t, m, "example.com"); err == nil {
			t.Errorf("a certificate of %v, expired at %v, is served at %v", leafOf(t, certificate).DNSNames, leafOf(t, certificate).NotAfter, time.Now())
		}
		p.set(errForbidden)
		time.Sleep(48 * time.Hour)
		turnsAway(t, m, "example.com")
		if status := statuses(m); len(status) != 0 {
			t.Errorf("a name that is denied is managed: %+v", status)
		}
	})
}

// TestManageNameWantedOnDemand shows that a name which a client asked for first can be configured later,
// alone or with others, also while it is being obtained for the client, and that the policy has no
// say in it from then on.
func TestManageNameWantedOnDemand(t *testing.T) {
	for _, test := range []struct {
		name     string
		names    []string
		underWay bool
	}{
		{"alone", []string{"example.com"}, false},
		{"with another", []string{"example.com", "example.net"}, false},
		{"alone, under way", []string{"example.com"}, true},
		{"with another, under way", []string{"example.com", "example.net"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { manageWanted(t, test.names, test.underWay) })
		})
	}
}

func manageWanted(t *testing.T, names []string, underWay bool) {
	w := newWorld(t)
	front, release := w.front(), make(chan struct{})
	front.answerWith(untilReleased("finalize", release))
	var p policy
	config := w.onDemand(&p)
	acmeOf(config).HTTPClient = front.client()
	m, stop := w.running(config)
	defer stop()
	if !underWay {
		close(release)
	}
	var client sync.WaitGroup
	client.Go(func() {
		if _, err := w.handshake(t.Context(), "example.com"); err != nil {
			t.Errorf("the client that asked first: %v", err)
		}
	})
	time.Sleep(10 * time.Second) // the client is served, or its order is ready
	p.set(errForbidden)
	if err := m.Manage(certmanager.Subject{Names: names}); err != nil {
		t.Errorf("Manage: %v", err)
	}
	time.Sleep(10 * time.Second)
	if underWay {
		close(release)
	}
	client.Wait()
	time.Sleep(100 * 24 * time.Hour)
	leaf, err := w.handshake(t.Context(), "example.com")
	if err != nil {
		t.Fatalf("after the time of the first certificate: %v", err)
	}
	if err := leaf.VerifyHostname(names[len(names)-1]); err != nil {
		t.Error(err)
	}
	if status := statuses(m); len(status) != 1 || status[0].OnDemand {
		t.Errorf("status: %+v", status)
	}
	want := 2 // the first and its renewal
	if len(names) > 1 {
		want = 3 // and the client's
	}
	if n := w.newOrders(); n != want {
		t.Errorf("%d orders, want %d: %+v", n, want, w.ca.Orders())
	}
}

// A hookedConn calls a function when it is asked for the client's address.
type hookedConn struct {
	net.Conn
	hook func()
}

func (c hookedConn) RemoteAddr() net.Addr {
	c.hook()
	return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 9), Port: 1234}
}

// TestRunEndsBeforeTheDemand has Run end when a handshake is about to have a name obtained: it waits for nobody.
func TestRunEndsBeforeTheDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m, stop := w.running(w.onDemandFrom(newLocalCA(t, "ca")))
		began := time.Now()
		_, err := m.GetCertificate(&tls.ClientHelloInfo{ServerName: "example.com", Conn: hookedConn{hook: stop}})
		if took := time.Since(began); err == nil || took > 30*time.Second {
			t.Errorf("after %v: %v", took, err)
		}
	})
}
