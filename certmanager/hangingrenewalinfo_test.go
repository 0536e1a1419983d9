package certmanager_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
)

// pollTimeout is that of one question when to renew.
const pollTimeout = 10 * time.Second

// hangs has the CA answer no question from now on, and returns a channel that is sent the names in question. One that is stuck does
// not obey its context either, before release is called.
func (ca *informingCA) hangs(stuck bool) (asked <-chan string, release func()) {
	names, released := make(chan string, 10_000), make(chan struct{})
	ca.informs(func(ctx context.Context, leaf *x509.Certificate) (*acme.RenewalInfo, error) {
		names <- leaf.DNSNames[0]
		if stuck {
			<-released
		}
		<-ctx.Done()
		return nil, ctx.Err()
	})
	return names, sync.OnceFunc(func() { close(released) })
}

// underway returns how many questions are.
func (ca *informingCA) underway() int {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	return ca.out
}

// TestObtainedWhileRenewalInfoHangs is defect 4 of a peer: there each certificate is asked about before it is stored, and what was
// issued is lost when that is given up. Here nobody asks before it is stored, and while questions hang new certificates are
// obtained, and others renewed, at once.
func TestObtainedWhileRenewalInfoHangs(t *testing.T) {
	for name, stuck := range map[string]bool{"until its context ends": false, "whatever its context says": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				ca := newInformingCA(t, "ca")
				asked, release := ca.hangs(stuck)
				config := w.from(ca, "a.example.com", "b.example.com")
				config.Workers = 4
				m, stop := w.serving(config)
				defer stop()
				defer release()
				if w.keys("certificates") != 2 || len(asked) != 0 {
					t.Errorf("%d certificates are stored, and %d questions were asked", w.keys("certificates"), len(asked))
				}
				polled := <-asked
				began := time.Now()
				for _, name := range manyNames("new%d.example", 50) {
					if err := m.Manage(certmanager.Subject{Names: []string{name}}); err != nil {
						t.Fatal(err)
					}
					if took := w.await(certmanager.EventObtained, name, 1).Time.Sub(began); took > 0 {
						t.Fatalf("%s is obtained after %v", name, took)
					}
				}
				for _, name := range config.Names {
					if stuck && name == polled {
						continue // its own question is one of a program's that does as it likes
					}
					if err := m.Renew(t.Context(), name); err != nil || time.Since(began) > 0 {
						t.Errorf("%s is renewed after %v: %v", name, time.Since(began), err)
					}
				}
				if stuck && ca.underway() == 0 {
					t.Error("no question is under way any more")
				}
				synctest.Wait()
				if n, issued := w.keys("certificates"), ca.count(); n != 52 || issued < 53 {
					t.Errorf("%d certificates are stored of %d", n, issued)
				}
			})
		})
	}
}

// Another member's question keeps the caller of Renew waiting for as long as it may take, and no longer.
func TestRenewDuringTheQuestionOfAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ca := newInformingCA(t, "ca")
		asked, _ := ca.hangs(false)
		_, stop := w.serving(w.from(ca, "example.com"))
		defer stop()
		other, stopOther := w.running(w.from(ca, "example.com"))
		defer stopOther()
		<-asked
		began := time.Now()
		if err := other.Renew(t.Context(), "example.com"); err != nil || time.Since(began) > 3*pollTimeout/2 {
			t.Errorf("it is renewed after %v: %v", time.Since(began), err)
		}
	})
}

// Run ends while a question hangs: the certificate is stored, served by the next Run, and not obtained again.
func TestEndWhileRenewalInfoHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ca := newInformingCA(t, "ca")
		asked, _ := ca.hangs(false)
		m, stop := w.serving(w.from(ca, "example.com"))
		serial := statusOf(t, m, "example.com").Serial
		<-asked
		began := time.Now()
		stop()
		if took := time.Since(began); took > 0 {
			t.Errorf("Run ends %v after its context", took)
		}
		m, stop = w.running(w.from(ca, "example.com"))
		defer stop()
		after(day)
		if s := statusOf(t, m, "example.com"); s.Serial != serial || ca.count() != 1 {
			t.Errorf("%d certificates were issued, and %s is served, not %s", ca.count(), s.Serial, serial)
		}
	})
}

// TestHandshakesWhileRenewalInfoHangs has many clients ask for a certificate that is in question: none waits, whether it is in
// memory or the storage has it, and they add no question.
func TestHandshakesWhileRenewalInfoHangs(t *testing.T) {
	for name, most := range map[string]int{"in memory": 0, "evicted": 1} {
		t.Run(name, func(t *testing.T) {
			names := manyNames("site%d.example", 5)
			informed(t, func(c *certmanager.Config) { c.MaxLoaded = most }, func(w *world, ca *informingCA, m *certmanager.Manager) {
				asked, _ := ca.hangs(false)
				polled := <-asked
				for _, loaded := m.Certificate(polled); loaded && most > 0; _, loaded = m.Certificate(polled) {
					polled = <-asked // until one is in question that is evicted
				}
				began := time.Now()
				withHello(w.t, nil, func(hello *tls.ClientHelloInfo) {
					var clients sync.WaitGroup
					for i := range 1000 {
						clients.Go(func() {
							name := polled
							if i%2 == 0 {
								name = names[i%len(names)]
							}
							if c, err := m.GetCertificate(named(hello, name)); c == nil || err != nil {
								w.t.Errorf("%s: %v", name, err)
							}
						})
					}
					clients.Wait()
				})
				if took := time.Since(began); took > 0 {
					w.t.Errorf("handshakes wait for %v", took)
				}
				if ca.underway() == 0 {
					w.t.Error("no question is under way any more")
				}
				after(2 * pollTimeout)
				if n := len(asked); n > 0 {
					w.t.Errorf("%d further questions", n)
				}
			}, names...)
		})
	}
}
