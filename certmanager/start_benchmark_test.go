//go:build unix

package certmanager

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
)

// BenchmarkNew makes a manager of 1,000,000 names, and one that is given them by Manage.
func BenchmarkNew(b *testing.B) {
	const n = 1_000_000
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("www.customer-%07d.example", i)
	}
	subjects := make([]Subject, n)
	for i := range subjects {
		subjects[i].Names = all[i : i+1]
	}
	config := Config{Issuers: []Issuer{&ACME{DirectoryURL: "https://ca.example.com/directory"}}, Storage: new(storage.Memory), Names: all}
	b.Run("New", func(b *testing.B) {
		before := cpuTime(b)
		for b.Loop() {
			if _, err := New(config); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric((cpuTime(b)-before).Seconds()/float64(b.N), "cpu-s/op")
	})
	b.Run("Manage", func(b *testing.B) {
		config.Names = nil
		before := cpuTime(b)
		for b.Loop() {
			m, err := New(config)
			if err != nil {
				b.Fatal(err)
			}
			if err := m.Manage(subjects...); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric((cpuTime(b)-before).Seconds()/float64(b.N), "cpu-s/op")
	})
}

// BenchmarkStart runs a manager with stored certificates until all are loaded, and reports besides the time for that the
// CPU time for each certificate. A Dir is read from the page cache.
func BenchmarkStart(b *testing.B) {
	for _, kind := range startKinds {
		b.Run(fmt.Sprintf("%s/certs=%d", kind.name, kind.n), func(b *testing.B) {
			s := newStart(b, kind.open(b), kind.n)
			cpu := time.Duration(0)
			for b.Loop() {
				s.prepare(b)
				before := cpuTime(b)
				s.run()
				s.awaitAll()
				cpu += cpuTime(b) - before
				s.stop()
			}
			b.ReportMetric(float64(cpu.Microseconds())/float64(b.N)/float64(kind.n), "cpu-µs/cert")
		})
	}
}

// BenchmarkStartHandshake measures how long the first handshake waits for its certificate that comes when a manager
// with so many stored ones has just begun to run, and the last of 200 for different names that come at once.
func BenchmarkStartHandshake(b *testing.B) {
	for _, kind := range startKinds {
		s := newStart(b, kind.open(b), kind.n)
		for _, clients := range []int{1, 200} {
			b.Run(fmt.Sprintf("%s/certs=%d/clients=%d", kind.name, kind.n, clients), func(b *testing.B) {
				waited, loaded := time.Duration(0), 0
				for b.Loop() {
					s.prepare(b)
					s.run()
					time.Sleep(5 * time.Millisecond)
					begun := time.Now()
					var group sync.WaitGroup
					for i := range clients {
						group.Go(func() {
							name := s.names[kind.n-1-i*kind.n/clients]
							if c, err := s.manager.GetCertificate(&tls.ClientHelloInfo{ServerName: name}); err != nil || c == nil {
								b.Error(err)
							}
						})
					}
					group.Wait()
					waited += time.Since(begun)
					for _, e := range s.entries {
						if e.served.Load() != nil {
							loaded++
						}
					}
					s.stop()
				}
				b.ReportMetric(float64(waited.Microseconds())/1000/float64(b.N), "waited-ms")
				b.ReportMetric(float64(loaded)/float64(b.N), "loaded") // of all by then
			})
		}
	}
}

var startKinds = []struct {
	name string
	n    int
	open func(*testing.B) storage.Store
}{
	{"memory", 100_000, func(*testing.B) storage.Store { return new(storage.Memory) }},
	{"dir", 100_000, func(b *testing.B) storage.Store { return storage.Dir(b.TempDir()) }},
}

// A benchmarkedStart is that of a manager whose storage has all its certificates.
type benchmarkedStart struct {
	config  Config
	names   []string
	manager *Manager
	entries []*entry
	cancel  context.CancelFunc
	ended   chan error
}

func newStart(b *testing.B, store storage.Store, n int) *benchmarkedStart {
	b.Helper()
	s := &benchmarkedStart{config: Config{Issuers: []Issuer{&ACME{DirectoryURL: "https://ca.example.com/directory"}}, Storage: store, Logger: slog.New(slog.NewTextHandler(b.Output(), nil))}}
	issuer, chain := s.config.issuers()[0].ID(), newTestChain(b)
	var saves errgroup.Group
	saves.SetLimit(64)
	for i := range n {
		name := fmt.Sprintf("www.customer-%07d.example", i)
		s.names = append(s.names, name)
		value := chain.record(b, name)
		saves.Go(func() error {
			_, err := store.Save(b.Context(), record.CertificateKey(issuer, name, string(ECDSAP256)), value, "")
			return err
		})
	}
	if err := saves.Wait(); err != nil {
		b.Fatal(err)
	}
	s.config.Names = s.names
	return s
}

// prepare makes a manager that has loaded nothing.
func (s *benchmarkedStart) prepare(b *testing.B) {
	b.StopTimer()
	defer b.StartTimer()
	var err error
	if s.manager, err = New(s.config); err != nil {
		b.Fatal(err)
	}
	s.entries = s.entries[:0]
	for e := range s.manager.catalogue.all() {
		s.entries = append(s.entries, e)
	}
	runtime.GC()
}

func (s *benchmarkedStart) run() {
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(context.Background())
	s.ended = make(chan error, 1)
	go func() { s.ended <- s.manager.Run(ctx) }()
}

// awaitAll returns when all have a certificate.
func (s *benchmarkedStart) awaitAll() {
	for _, e := range s.entries {
		for e.served.Load() == nil {
			time.Sleep(time.Millisecond)
		}
	}
}

func (s *benchmarkedStart) stop() {
	s.cancel()
	<-s.ended
}

// cpuTime returns what the process has used of the processors.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
