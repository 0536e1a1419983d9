//go:build unix

package certmanager_test

import (
	"context"
	"fmt"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// BenchmarkIssuance has a manager obtain 2,000 certificates, and reports what each takes of the processors, with the CA's part
// in it: a P-256 signature and its check.
func BenchmarkIssuance(b *testing.B) {
	const n = 2000
	ca := newLocalCA(b, "local")
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("site%d.example", i)
	}
	before := processorTime(b)
	for b.Loop() {
		m, err := certmanager.New(certmanager.Config{
			Names: names, Storage: new(storage.Memory), Issuers: []certmanager.Issuer{ca}, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(b.Context())
		ended, want := make(chan error, 1), ca.count()+n
		go func() { ended <- m.Run(ctx) }()
		for ca.count() < want {
			time.Sleep(time.Millisecond)
		}
		cancel()
		if err := <-ended; err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((processorTime(b)-before).Microseconds())/float64(b.N)/n, "cpu-µs/cert")
}

// processorTime returns what the process has used of the processors.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
