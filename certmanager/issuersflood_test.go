package certmanager_test

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/storage/storagetest"
)

// issuersOfAllKinds returns three CAs behind one another, each of which validates in one way and has a solver for that: the first
// refuses what the others are to issue, and the second what the third is.
func (w *world) issuersOfAllKinds(plain *pipeListener) (cas []*acmetest.Server, issuers []certmanager.Issuer) {
	for i, challenge := range []string{"tls-alpn-01", "http-01", "dns-01"} {
		ca := acmetest.NewUnstartedServer()
		ca.Challenges = []string{challenge}
		ca.Dial = func(ctx context.Context, _, address string) (net.Conn, error) {
			if strings.HasSuffix(address, ":80") {
				return plain.dial(ctx)
			}
			return w.dial(ctx)
		}
		ca.StartInMemory()
		w.t.Cleanup(ca.Close)
		ca.SetHost("*", "192.0.2.1")
		for _, name := range namesOfIssuers[i+1:] {
			ca.Refuse(name)
		}
		own := []acme.Solver{new(solver.TLSALPN01), new(solver.HTTP01), newDNS01(ca)}[i]
		cas = append(cas, ca)
		directory := strings.Replace(ca.URL, "acmetest.invalid", challenge+".invalid", 1)
		issuers = append(issuers, &certmanager.ACME{DirectoryURL: directory, HTTPClient: &http.Client{Transport: renamed{ca.Client().Transport}}, Solvers: []acme.Solver{own}})
	}
	return cas, issuers
}

// namesOfIssuers are those that each of three CAs issues.
var namesOfIssuers = []string{"first.example.com", "second.example.com", "third.example.com"}

// TestFloodsBesideSeveralIssuers is defect 12 of a peer: there each request reads the storage once for each issuer. Here three of them
// cost what one does, and while the flood goes on each validates by its own solver.
func TestFloodsBesideSeveralIssuers(t *testing.T) {
	n := 30_000
	if raceDetector {
		n /= 10
	}
	for name, flood := range floods() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, plain := newWorld(t), newPipeListener()
				cas, issuers := w.issuersOfAllKinds(plain)
				s := &storagetest.Faulty{Store: w.store}
				config := w.onDemand(new(policy))
				config.Storage, config.Issuers, config.Preflight = s, issuers, certmanager.PreflightOff
				m, stop := w.running(config)
				defer stop()
				server := &http.Server{Handler: m.HTTPHandler(nil)}
				var group sync.WaitGroup
				group.Go(func() { _ = server.Serve(plain) })
				defer group.Wait()
				defer server.Close()

				var subsided atomic.Bool
				calls, began := s.Calls(0xff), time.Now()
				group.Go(func() {
					defer subsided.Store(true)
					flood.pour(t, m, n)
				})
				time.Sleep(time.Second / 4)
				if err := m.Manage(subjectsOf(namesOfIssuers)...); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if err := m.Wait(ctx); err != nil {
					t.Error(err)
				}
				for i, name := range namesOfIssuers {
					if certificates := cas[i].Certificates(); len(certificates) != 1 || certificates[0].DNSNames[0] != name {
						t.Errorf("issuer %d has issued %d certificates, want one for %s", i, len(certificates), name)
					}
				}
				if subsided.Load() {
					t.Errorf("the flood was over before all had a certificate, %v after it began", time.Since(began))
				}
				for !subsided.Load() {
					time.Sleep(time.Second / 10)
				}
				took := time.Since(began)
				const issuances = 100 // three with accounts, and refusals before them
				if calls, most := s.Calls(0xff)-calls, mostFloodCalls(took)+issuances; calls > most {
					t.Errorf("%d calls of the storage within %v, want %d at most", calls, took, most)
				} else {
					t.Logf("%d calls of the storage for %d requests within %v", calls, n, took)
				}
				for i, ca := range cas {
					if n := ca.Requests()["challenge"]; n != 1 {
						t.Errorf("issuer %d was asked to validate %d times, want once", i, n)
					}
				}
			})
		})
	}
}
