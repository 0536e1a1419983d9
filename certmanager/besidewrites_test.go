package certmanager

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/everseal/everseal/certmanager/internal/record"
)

// TestHandshakesTakeNoLock is defect 6 of a peer: there look-ups wait for the lock that a write holds. Here a write has stopped
// in its middle, with every lock that there is: handshakes for any of 100,000 names are answered, and for names that there are not.
func TestHandshakesTakeNoLock(t *testing.T) {
	m := fill(t, 100_000, "site-%06d.example.com")
	add(t, m, []string{"*.example.net"})
	e := m.catalogue.lookup("site-000007.example.com")
	for _, lock := range []sync.Locker{&m.mu, &m.catalogue.mu, &e.progress.mu, &m.obtainer.residents.mu, &m.recalls.mu, &m.admission.mu, &m.announcer.mu} {
		lock.Lock()
		defer lock.Unlock()
	}
	hello, answered := clientHello(t), make(chan bool)
	go func() {
		defer close(answered)
		for range 2 { // the first time a name is asked for, and the next
			for _, test := range []struct {
				name  string
				found bool
			}{{"site-000007.example.com", true}, {"SITE-000007.example.com", true}, {"site-099999.example.com", true}, {"www.example.net", true}, {"unknown.example.org", false}} {
				hello.ServerName = test.name
				if c, err := m.GetCertificate(hello); err != nil || (c != nil) != test.found {
					t.Errorf("%s: found is %t, %v", test.name, c != nil, err)
				}
			}
		}
	}()
	select {
	case <-answered:
	case <-time.After(time.Minute):
		t.Fatal("a handshake waits for a lock that a write holds")
	}
}

// TestPublishingTakesNoLockOfTheManager has every lock held that is not a certificate's own: a successor is served all the same.
func TestPublishingTakesNoLockOfTheManager(t *testing.T) {
	m := fill(t, 1000, "site-%06d.example.com")
	e, now := m.catalogue.lookup("site-000007.example.com"), time.Now()
	for _, lock := range []sync.Locker{&m.mu, &m.catalogue.mu, &m.recalls.mu, &m.admission.mu, &m.announcer.mu} {
		lock.Lock()
		defer lock.Unlock()
	}
	served := make(chan bool)
	go func() {
		r := &record.Certificate{Chain: [][]byte{[]byte("successor")}, Meta: record.Meta{Obtained: now.Add(time.Second)}, NotBefore: now, End: now.AddDate(0, 0, 90)}
		served <- m.obtainer.serve(e, r)
	}()
	select {
	case isNew := <-served:
		if got := m.catalogue.lookup("site-000007.example.com").served.Load(); !isNew || string(got.Certificate.Certificate[0]) != "successor" {
			t.Errorf("served: %t", isNew)
		}
	case <-time.After(time.Minute):
		t.Fatal("a certificate waits for a lock of the manager's")
	}
}

// BenchmarkLookupBesideWrites has a handshake look its certificate up among 100,000, while nothing else is done, and while
// certificates are put under management, served and evicted without a pause. The longest look-ups tell of the processors, which the
// garbage of the writes keeps busy.
func BenchmarkLookupBesideWrites(b *testing.B) {
	for _, writes := range []bool{false, true} {
		b.Run(fmt.Sprintf("writes=%t", writes), func(b *testing.B) {
			m := fill(b, 100_000, "site-%06d.example.com")
			asked, hello := names(100_000, "site-%06d.example.com"), clientHello(b)
			done, written := make(chan struct{}), 0
			var writer sync.WaitGroup
			writer.Go(func() {
				for ; writes; written++ {
					select {
					case <-done:
						return
					default:
					}
					name := fmt.Sprintf("added-%09d.example.com", written)
					add(b, m, []string{name})
					m.catalogue.evict(m.catalogue.lookup(name))
				}
			})
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				hello.ServerName = asked[i%len(asked)]
				began := time.Now()
				if c, err := m.GetCertificate(hello); c == nil || err != nil {
					b.Fatal(c, err)
				}
				took = append(took, time.Since(began))
			}
			close(done)
			writer.Wait()
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2]), "ns-median")
			b.ReportMetric(float64(took[len(took)*99/100]), "ns-p99")
			b.ReportMetric(float64(written)/b.Elapsed().Seconds(), "writes/s")
		})
	}
}
