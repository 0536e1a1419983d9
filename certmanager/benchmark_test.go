package certmanager

import (
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
)

type getCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error)

// lookedUp are numbers of certificates.
var lookedUp = []int{1, 1_000, 100_000, 1_000_000}

// BenchmarkGetCertificate measures what a handshake pays for its certificate, through the function
// that is in tls.Config; BenchmarkMapLookup is the floor below it. The handshake is counted too, by a locked instruction, over
// which a processor does not begin to read for the next one, as it does for the floor.
func BenchmarkGetCertificate(b *testing.B) {
	for _, kind := range []struct {
		name         string
		held, wanted string // formats of the names
		found        bool
		keyTypes     []KeyType
	}{
		{"exact", "site-%06d.example.com", "site-%06d.example.com", true, nil},
		{"alternative", "site-%06d.example.com", "site-%06d.example.com", true, []KeyType{ECDSAP256, RSA2048}},
		{"wildcard", "*.site-%06d.example.com", "www.site-%06d.example.com", true, nil},
		{"unknown", "site-%06d.example.com", "unknown-%06d.example.net", false, nil},
	} {
		for _, n := range lookedUp {
			b.Run(fmt.Sprintf("%s/certs=%d", kind.name, n), func(b *testing.B) {
				m := fill(b, n, kind.held, kind.keyTypes...)
				measure(b, m.TLSConfig().GetCertificate, names(n, kind.wanted), kind.found)
			})
		}
	}
}

// BenchmarkMapLookup looks the lower-cased name up in a plain map, of the certificates that the manager has as well.
func BenchmarkMapLookup(b *testing.B) {
	certificate := func() *tls.Certificate { return &tls.Certificate{Certificate: [][]byte{nil}} }
	for _, n := range lookedUp {
		b.Run(fmt.Sprintf("exact/certs=%d", n), func(b *testing.B) {
			certificates := make(map[string]*tls.Certificate, n)
			for i := range n {
				certificates[fmt.Sprintf("site-%06d.example.com", i)] = certificate()
			}
			measure(b, func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
				return certificates[strings.ToLower(hello.ServerName)], nil
			}, names(n, "site-%06d.example.com"), true)
		})
	}
	for _, n := range lookedUp {
		b.Run(fmt.Sprintf("alternative/certs=%d", n), func(b *testing.B) { // the first is served, without looking at the hello
			certificates := make(map[string][2]*tls.Certificate, n)
			for i := range n {
				certificates[fmt.Sprintf("site-%06d.example.com", i)] = [2]*tls.Certificate{certificate(), certificate()}
			}
			measure(b, func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
				return certificates[strings.ToLower(hello.ServerName)][0], nil
			}, names(n, "site-%06d.example.com"), true)
		})
	}
}

// BenchmarkStats counts certificates, BenchmarkAll looks at each.
func BenchmarkStats(b *testing.B) {
	for _, n := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprintf("certs=%d", n), func(b *testing.B) {
			m := fill(b, n, "site-%06d.example.com")
			b.ReportAllocs()
			for b.Loop() {
				if s := m.Stats(); s.States[StateValid]+s.States[StateExpired] != n {
					b.Fatalf("%+v", s)
				}
			}
		})
	}
}

func BenchmarkAll(b *testing.B) {
	for _, n := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprintf("certs=%d", n), func(b *testing.B) {
			m := fill(b, n, "site-%06d.example.com")
			b.ReportAllocs()
			for b.Loop() {
				for s := range m.All() {
					if s.Action == "" {
						b.Fatalf("%+v", s)
					}
				}
			}
		})
	}
}

// BenchmarkFill puts 100,000 certificates under management and into the index at once.
func BenchmarkFill(b *testing.B) {
	for b.Loop() {
		fill(b, 100000, "site-%06d.example.com")
	}
}

// BenchmarkAdd puts one certificate more into an index that holds 100,000.
func BenchmarkAdd(b *testing.B) {
	m := fill(b, 100000, "site-%06d.example.com")
	for i := 0; b.Loop(); i++ {
		add(b, m, []string{fmt.Sprintf("added-%09d.example.com", i)})
	}
}

// fill returns a manager that has certificates for n names of the format, of each kind of key.
func fill(b testing.TB, n int, format string, keyTypes ...KeyType) *Manager {
	b.Helper()
	m, err := New(Config{Issuers: []Issuer{&ACME{DirectoryURL: "https://ca.example.com/directory"}}, Storage: new(storage.Memory)})
	if err != nil {
		b.Fatal(err)
	}
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(format, i)
	}
	add(b, m, all, keyTypes...)
	return m
}

func add(b testing.TB, m *Manager, names []string, keyTypes ...KeyType) {
	b.Helper()
	if len(keyTypes) == 0 {
		keyTypes = defaultKeyTypes()
	}
	subjects := make([]subject, len(names))
	for i, name := range names {
		subjects[i] = subject{identifiers: []acme.Identifier{{Type: acme.TypeDNS, Value: name}}, keyTypes: keyTypes}
	}
	added, err := m.catalogue.add(subjects)
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range added {
		now := time.Now()
		c.offer(&record.Certificate{Chain: [][]byte{nil}, NotBefore: now, End: now.Add(90 * 24 * time.Hour)})
	}
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
	for _, name := range names { // the first time it is noted that a certificate is asked for
		hello.ServerName = name
		if _, err := get(hello); err != nil {
			b.Fatal(err)
		}
	}
	runtime.GC() // what was filled is not collected meanwhile
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		hello.ServerName = names[i%len(names)]
		// As crypto/tls does, it reads the certificate.
		if c, err := get(hello); err != nil || (c != nil && c.Certificate[0] == nil) != found {
			b.Fatalf("%s: %v, %v", hello.ServerName, c, err)
		}
	}
}

// clientHello returns a ClientHello as crypto/tls hands it to GetCertificate.
func clientHello(b testing.TB) *tls.ClientHelloInfo {
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
