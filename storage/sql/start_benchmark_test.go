//go:build unix

package sql

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// A signer is an issuer that signs at once, with a chain of three.
type signer struct {
	key   *ecdsa.PrivateKey
	chain []*x509.Certificate // its own first
}

func newSigner() (*signer, error) {
	s := new(signer)
	for range 2 {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		ca, err := s.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "a CA"}, IsCA: true}, key.Public(), key)
		if err != nil {
			return nil, err
		}
		s.key, s.chain = key, append([]*x509.Certificate{ca}, s.chain...)
	}
	return s, nil
}

// sign completes a template, and signs it by the CA, or by the key itself if there is none.
func (s *signer) sign(template *x509.Certificate, public crypto.PublicKey, own crypto.Signer) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template.SerialNumber, template.BasicConstraintsValid = serial, true
	days := 90
	if template.IsCA {
		days = 3650
	}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().AddDate(0, 0, days)
	parent, key := template, own
	if len(s.chain) > 0 {
		parent, key = s.chain[0], s.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// ID names the issuer in the keys of records.
func (s *signer) ID() string { return "benchmark" }

// Issue signs.
func (s *signer) Issue(_ context.Context, r certmanager.Request) (*acme.Certificate, error) {
	leaf, err := s.sign(&x509.Certificate{
		DNSNames: []string{r.Identifiers[0].Value}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, r.Key.Public(), nil)
	if err != nil {
		return nil, err
	}
	issued := &acme.Certificate{Leaf: leaf, Chain: [][]byte{leaf.Raw}}
	for _, above := range s.chain {
		issued.Chain = append(issued.Chain, above.Raw)
	}
	return issued, nil
}

// BenchmarkStart has a manager that runs load 100,000 certificates from a PostgreSQL, which it scans, and reports how long that takes,
// and the CPU time of this process for each certificate. The server runs on the same machine, and its CPU time does not
// count.
func BenchmarkStart(b *testing.B) {
	const n = 100_000
	store := newPostgresTarget(b).open(b)
	issuer, err := newSigner()
	if err != nil {
		b.Fatal(err)
	}
	config := certmanager.Config{Issuers: []certmanager.Issuer{issuer}, Storage: store, Logger: slog.New(slog.NewTextHandler(b.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))}
	for i := range n {
		config.Names = append(config.Names, fmt.Sprintf("www.customer-%07d.example", i))
	}
	if err := fill(b.Context(), store, config); err != nil {
		b.Fatal(err)
	}
	cpu := time.Duration(0)
	for b.Loop() {
		b.StopTimer()
		m, err := certmanager.New(config)
		if err != nil {
			b.Fatal(err)
		}
		runtime.GC()
		before := cpuTime(b)
		b.StartTimer()
		running, cancel := context.WithCancel(b.Context())
		ended := make(chan error, 1)
		go func() { ended <- m.Run(running) }()
		if err := m.Wait(running); err != nil {
			b.Fatal(err)
		}
		cpu += cpuTime(b) - before
		b.StopTimer()
		for _, name := range config.Names {
			if _, ok := m.Certificate(name); !ok {
				b.Fatalf("%s is not served", name)
			}
		}
		cancel()
		if err := <-ended; err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(cpu.Microseconds())/float64(b.N)/n, "cpu-µs/cert")
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/start")
}

// fill stores what a manager of the configuration has when it has obtained all its certificates.
func fill(ctx context.Context, store *Store, config certmanager.Config) error {
	memory := new(storage.Memory) // the leases and journals of 100,000 issuances would take minutes
	config.Storage = memory
	m, err := certmanager.New(config)
	if err != nil {
		return err
	}
	running, cancel := context.WithCancel(ctx)
	var run sync.WaitGroup
	run.Go(func() {
		err = m.Run(running)
		cancel()
	})
	waited := m.Wait(running)
	cancel()
	run.Wait()
	if waited != nil {
		return errors.Join(waited, err)
	}
	var saves errgroup.Group
	saves.SetLimit(16)
	for key, err := range memory.List(ctx, "") {
		if err != nil {
			return err
		}
		item, err := memory.Load(ctx, key)
		if err != nil {
			return err
		}
		saves.Go(func() error {
			_, err := store.Save(ctx, key, item.Value, "")
			return err
		})
	}
	if err := saves.Wait(); err != nil {
		return err
	}
	// As autovacuum does a minute after so many changes.
	_, err = store.exec(ctx, "ANALYZE "+store.quoted())
	return err
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
