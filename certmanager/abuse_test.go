package certmanager_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage/storagetest"
)

// A questionCount counts how often a policy is asked about each name.
type questionCount struct {
	mu    sync.Mutex
	asked map[string]int
	most  int
	all   int
}

func (c *questionCount) count(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked == nil {
		c.asked = make(map[string]int)
	}
	c.all++
	c.asked[name]++
	c.most = max(c.most, c.asked[name])
}

// besieged has so many handshakes come at once from 200 clients, for the names that are given by number.
func besieged(t *testing.T, m *certmanager.Manager, handshakes int, name func(int) string) {
	t.Helper()
	var next atomic.Int64
	var clients sync.WaitGroup
	for range 200 {
		clients.Go(func() {
			hello := new(tls.ClientHelloInfo)
			for i := next.Add(1); i <= int64(handshakes); i = next.Add(1) {
				hello.ServerName = name(int(i))
				if c, _ := m.GetCertificate(hello); c != nil {
					t.Errorf("%s has a certificate", hello.ServerName)
				}
			}
		})
	}
	clients.Wait()
}

func heapInUse() int {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int(stats.HeapAlloc)
}

// TestRandomNames has a million handshakes come for names that nobody knows: with a policy that denies them, fails or takes
// its time.
func TestRandomNames(t *testing.T) {
	million := 1_000_000
	if raceDetector {
		million /= 100
	}
	const few = 500
	various := func(n int) string { return fmt.Sprintf("n%d.example%d.com", n, n%100_000) }
	for name, test := range map[string]struct {
		answer     error
		takes      time.Duration
		handshakes int
		name       func(int) string
		most       int // questions
	}{
		"denied":                  {errForbidden, 0, million, various, million},
		"denied, again and again": {errForbidden, 0, million / 4, func(n int) string { return various(n % few) }, few},
		"failing":                 {errUnreachable, 0, million / 10, various, million},
		"slow":                    {errForbidden, 20 * time.Second, million / 4, func(n int) string { return various(n % few) }, few},
	} {
		t.Run(name, func(t *testing.T) {
			run := synctest.Test
			if test.most != few {
				run = func(t *testing.T, f func(*testing.T)) { f(t) } // a bubble keeps timers that were stopped
			}
			run(t, func(t *testing.T) {
				w, local := newWorld(t), newLocalCA(t, "local")
				s := &storagetest.Faulty{Store: w.store}
				var questions questionCount
				probed := make(chan struct{})
				isRunning := sync.OnceFunc(func() { close(probed) })
				config := w.onDemandFrom(local)
				config.Storage = s
				config.OnDemand = func(ctx context.Context, q certmanager.Question) error {
					if isProbe(q.Name) {
						isRunning()
						return test.answer
					}
					if test.most == few {
						questions.count(q.Name) // of all it would take more memory than the manager
					}
					time.Sleep(test.takes)
					return test.answer
				}
				m, stop := w.start(config)
				defer stop()
				<-probed
				before := heapInUse()
				besieged(t, m, test.handshakes, test.name)
				if grown := heapInUse() - before; grown > 24<<20 {
					t.Errorf("%d MB are taken", grown>>20)
				} else {
					t.Logf("%d KB are taken after %d handshakes", grown>>10, test.handshakes)
				}
				if questions.most > 1 || questions.all > test.most {
					t.Errorf("%d questions, about one name %d", questions.all, questions.most)
				}
				if local.count() != 0 || w.keys("work") != 0 || w.keys("certificates") != 0 {
					t.Errorf("%d certificates were issued, %d orders are recorded", local.count(), w.keys("work"))
				}
			})
		})
	}
}

// An addressed is a connection from an address.
type addressed struct {
	net.Conn
	from netip.AddrPort
}

func (c addressed) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.from) }

// A flood is one of requests for answers that there are not. It makes the one of a number.
type flood func(m *certmanager.Manager, h http.Handler, hello *tls.ClientHelloInfo, i int)

// floods returns those of all ways by which a listener is asked.
func floods() map[string]flood {
	from := func(i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)}), 4711)
	}
	return map[string]flood{
		"acme-tls/1": func(m *certmanager.Manager, _ http.Handler, hello *tls.ClientHelloInfo, i int) {
			hello = named(hello, fmt.Sprintf("n%d.example.com", i))
			hello.SupportedProtos, hello.Conn = []string{certmanager.ALPNProto}, addressed{from: from(i)}
			_, _ = m.GetCertificate(hello)
		},
		"http-01": func(_ *certmanager.Manager, h http.Handler, _ *tls.ClientHelloInfo, i int) {
			r := httptest.NewRequest(http.MethodGet, fmt.Sprintf("http://n%d.example.com/.well-known/acme-challenge/token%d", i, i), nil)
			r.RemoteAddr = from(i).String()
			answer := httptest.NewRecorder()
			if h.ServeHTTP(answer, r); strings.Contains(answer.Body.String(), "token") {
				panic("an answer from nowhere")
			}
		},
	}
}

// pour has 200 clients make so many requests together, each at most a hundred in a second.
func (f flood) pour(t *testing.T, m *certmanager.Manager, n int) {
	t.Helper()
	h := m.HTTPHandler(http.NotFoundHandler())
	withHello(t, nil, func(hello *tls.ClientHelloInfo) {
		var clients sync.WaitGroup
		var next atomic.Int64
		for range 200 {
			clients.Go(func() {
				for i := next.Add(1); i <= int64(n); i = next.Add(1) {
					f(m, h, hello, int(i))
					time.Sleep(10 * time.Millisecond)
				}
			})
		}
		clients.Wait()
	})
}

// mostFloodCalls returns how many calls of the storage a flood may come to that takes so long.
func mostFloodCalls(took time.Duration) int { return 200 + 30*int(took/time.Second+1) }

// TestFloodsOfValidations has clients come who behave as CAs do, from many addresses, for answers that are not there: the
// storage is asked at a bounded rate, and memory stays as it is.
func TestFloodsOfValidations(t *testing.T) {
	n := 30_000
	if raceDetector {
		n /= 30
	}
	for name, flood := range floods() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				s := &storagetest.Faulty{Store: w.store}
				config := w.onDemand(new(policy))
				config.Storage = s
				m, stop := w.running(config)
				defer stop()
				calls, heap, began := s.Calls(0xff), heapInUse(), time.Now()
				flood.pour(t, m, n)
				took := time.Since(began)
				calls, heap = s.Calls(0xff)-calls, heapInUse()-heap
				t.Logf("%d calls of the storage for %d requests within %v, %d KB", calls, n, took, heap>>10)
				if most := mostFloodCalls(took); calls > most || heap > 24<<20 {
					t.Errorf("%d calls of the storage within %v, want %d at most; %d KB are taken", calls, took, most, heap>>10)
				}
				if w.newOrders() != 0 {
					t.Errorf("%d orders", w.newOrders())
				}
			})
		})
	}
}
