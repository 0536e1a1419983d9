package certmanager_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// BenchmarkHandshakeDuringRenewals measures handshakes while nothing else is done, and while a thousand certificates with RSA keys
// are obtained.
func BenchmarkHandshakeDuringRenewals(b *testing.B) {
	for _, renewals := range []int{0, 1000} {
		b.Run(fmt.Sprintf("renewals=%d", renewals), func(b *testing.B) {
			subjects := []certmanager.Subject{{Names: []string{"example.com"}}}
			m, err := certmanager.New(certmanager.Config{Subjects: subjects, Storage: new(storage.Memory), KeyTypes: []certmanager.KeyType{certmanager.ECDSAP256},
				Issuers: []certmanager.Issuer{newLocalCA(b, "local")}, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(b.Context())
			ended := make(chan error, 1)
			go func() { ended <- m.Run(ctx) }()
			defer func() {
				cancel()
				if err := <-ended; err != nil {
					b.Error(err)
				}
			}()
			if err := m.Wait(ctx); err != nil {
				b.Fatal(err)
			}
			for i := range renewals {
				if err := m.Manage(certmanager.Subject{Names: []string{fmt.Sprintf("rsa-%d.example.com", i)}, KeyTypes: []certmanager.KeyType{certmanager.RSA2048}}); err != nil {
					b.Fatal(err)
				}
			}
			client, server := &tls.Config{ServerName: "example.com", InsecureSkipVerify: true}, m.TLSConfig()
			var took []time.Duration
			for b.Loop() {
				began := time.Now()
				shakeHands(b, client, server, false)
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "µs-median")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "µs-p99")
		})
	}
}
