package certmanager

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"

	"github.com/everseal/everseal/storage"
)

type getCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error)

// BenchmarkGetCertificate measures what a handshake pays for its certificate, through the function
// that is in tls.Config; BenchmarkMapLookup is the floor below it.
func BenchmarkGetCertificate(b *testing.B) {
	for _, kind := range []struct {
		name         string
		held, wanted string // formats of the names
		found        bool
	}{
		{"exact", "site-%06d.example.com", "site-%06d.example.com", true},
		{"wildcard", "*.site-%06d.example.com", "www.site-%06d.example.com", true},
		{"unknown", "site-%06d.example.com", "unknown-%06d.example.net", false},
	} {
		for _, n := range []int{1, 1000, 100000} {
			b.Run(fmt.Sprintf("%s/certs=%d", kind.name, n), func(b *testing.B) {
				m := newBenchmarkManager(b)
				m.publish(benchmarkCertificates(n, kind.held))
				measure(b, m.TLSConfig().GetCertificate, names(n, kind.wanted), kind.found)
			})
		}
	}
}

// BenchmarkMapLookup looks the lower-cased name up in a plain map.
func BenchmarkMapLookup(b *testing.B) {
	for _, n := range []int{1, 1000, 100000} {
		b.Run(fmt.Sprintf("certs=%d", n), func(b *testing.B) {
			certificates := make(map[string]*tls.Certificate, n)
			for _, c := range benchmarkCertificates(n, "site-%06d.example.com") {
				certificates[c.identifiers[0].Value] = c.serving().certificate()
			}
			measure(b, func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
				return certificates[strings.ToLower(hello.ServerName)], nil
			}, names(n, "site-%06d.example.com"), true)
		})
	}
}

// BenchmarkFill puts 100,000 certificates into the index at once, as Run does at its start.
func BenchmarkFill(b *testing.B) {
	all := benchmarkCertificates(100000, "site-%06d.example.com")
	for b.Loop() {
		newBenchmarkManager(b).publish(all)
	}
}

// BenchmarkAdd puts one certificate into an index that holds 100,000.
func BenchmarkAdd(b *testing.B) {
	all := benchmarkCertificates(100000, "site-%06d.example.com")
	m := newBenchmarkManager(b)
	m.publish(all)
	for i := 0; b.Loop(); i++ {
		m.publish(all[i%len(all) : i%len(all)+1])
	}
}

func newBenchmarkManager(b *testing.B) *Manager {
	b.Helper()
	m, err := New(Config{CA: "https://ca.example.com/directory", Storage: new(storage.Memory)})
	if err != nil {
		b.Fatal(err)
	}
	return m
}

// benchmarkCertificates returns n certificates for the names that the format gives.
func benchmarkCertificates(n int, format string) []*managed {
	all := make([]*managed, n)
	for i := range all {
		s, err := newSubject(Subject{Names: []string{fmt.Sprintf(format, i)}})
		if err != nil {
			panic(err)
		}
		all[i] = &managed{subject: s, current: &record{leaf: new(x509.Certificate)}}
	}
	return all
}

// names returns n names in random order.
func names(n int, format string) []string {
	all := make([]string, n)
	for i, j := range rand.Perm(n) {
		all[i] = fmt.Sprintf(format, j)
	}
	return all
}

func measure(b *testing.B, get getCertificate, names []string, found bool) {
	hello := clientHello(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		hello.ServerName = names[i%len(names)]
		if c, err := get(hello); err != nil || (c != nil) != found {
			b.Fatalf("%s: %v, %v", hello.ServerName, c, err)
		}
	}
}

// clientHello returns a ClientHello as crypto/tls hands it to GetCertificate.
func clientHello(b *testing.B) *tls.ClientHelloInfo {
	b.Helper()
	var hello *tls.ClientHelloInfo
	client, server := net.Pipe()
	defer server.Close()
	go func() {
		defer client.Close()
		_ = tls.Client(client, &tls.Config{ServerName: "example.com", NextProtos: []string{"h2", "http/1.1"}}).Handshake()
	}()
	got := errors.New("got it")
	err := tls.Server(server, &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		hello = h
		return nil, got
	}}).Handshake()
	if !errors.Is(err, got) {
		b.Fatal(err)
	}
	return hello
}
