package index

import (
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

type getCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)

// names returns n names, from the format, in an order that has nothing to do with the memory they lie in.
func names(format string, n int) []string {
	r := rand.New(rand.NewPCG(1, 2))
	out := make([]string, n)
	for i, p := range r.Perm(n) {
		out[i] = fmt.Sprintf(format, p)
	}
	return out
}

func certificates(n int) []*tls.Certificate {
	out := make([]*tls.Certificate, n)
	for i := range out {
		out[i] = &tls.Certificate{Certificate: [][]byte{make([]byte, 900)}}
	}
	return out
}

func filled(names []string) *Index[*tls.Certificate] {
	x := new(Index[*tls.Certificate])
	x.PutAll(pairs(names, certificates(len(names))))
	return x
}

func pairs(names []string, certs []*tls.Certificate) func(func(string, *tls.Certificate) bool) {
	return func(yield func(string, *tls.Certificate) bool) {
		for i, name := range names {
			if !yield(name, certs[i]) {
				return
			}
		}
	}
}

// serve calls get with a ClientHello for each of the names, which it takes in random order from copies of its own,
// as a server reads them off the network.
func serve(b *testing.B, get getCertificate, format string, n int) {
	asked := make([]string, n)
	r := rand.New(rand.NewPCG(3, 4))
	for i, p := range r.Perm(n) {
		asked[i] = fmt.Sprintf(format, p)
	}
	hello := &tls.ClientHelloInfo{
		CipherSuites:      []uint16{tls.TLS_AES_128_GCM_SHA256},
		SupportedVersions: []uint16{tls.VersionTLS13, tls.VersionTLS12},
		SupportedProtos:   []string{"h2", "http/1.1"},
	}
	wanted := !strings.HasPrefix(format, "none-")
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		hello.ServerName = asked[i]
		if i++; i == n {
			i = 0
		}
		if cert, err := get(hello); err != nil || (cert != nil) != wanted {
			b.Fatalf("%s: %v, %v", hello.ServerName, cert, err)
		}
	}
}

const (
	exactFormat    = "site-%06d.example.com"
	wildcardFormat = "*.site-%06d.example.com"
	belowFormat    = "www.site-%06d.example.com"
	unknownFormat  = "none-%06d.example.com"
)

func BenchmarkLookup(b *testing.B) {
	kinds := []struct{ name, held, asked string }{
		{"exact", exactFormat, exactFormat},
		{"wildcard", wildcardFormat, belowFormat},
		{"unknown", exactFormat, unknownFormat},
	}
	for _, kind := range kinds {
		for _, n := range []int{1, 1_000, 100_000, 1_000_000} {
			b.Run(fmt.Sprintf("%s/certs=%d", kind.name, n), func(b *testing.B) {
				x := filled(names(kind.held, n))
				get := func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
					cert, _ := x.Lookup(strings.ToLower(hello.ServerName))
					return cert, nil
				}
				serve(b, get, kind.asked, n)
			})
		}
	}
}

// BenchmarkMapLookup is the floor for BenchmarkLookup/exact.
func BenchmarkMapLookup(b *testing.B) {
	for _, n := range []int{1, 1_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("certs=%d", n), func(b *testing.B) {
			certs := certificates(n)
			m := make(map[string]*tls.Certificate)
			for i, name := range names(exactFormat, n) {
				m[name] = certs[i]
			}
			get := func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
				return m[strings.ToLower(hello.ServerName)], nil
			}
			serve(b, get, exactFormat, n)
		})
	}
}

func BenchmarkPutAll(b *testing.B) {
	for _, n := range []int{1_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("certs=%d", n), func(b *testing.B) {
			held, certs := names(exactFormat, n), certificates(n)
			b.ReportAllocs()
			for b.Loop() {
				new(Index[*tls.Certificate]).PutAll(pairs(held, certs))
			}
		})
	}
}

func BenchmarkPut(b *testing.B) {
	for _, n := range []int{1_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("certs=%d", n), func(b *testing.B) {
			held := names(exactFormat, n)
			x := filled(held)
			cert := new(tls.Certificate)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				x.Put(held[i%n], cert)
				i++
			}
		})
	}
}
