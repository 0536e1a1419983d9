package peers

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
)

type getCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)

// A library is one whose handshake path is measured.
type library struct {
	name      string
	wildcards bool // it serves them
	// load returns its GetCertificate with a certificate for each of the names, ready in memory, until stop is called.
	load func(ctx context.Context, names []string) (get getCertificate, stop func(), err error)
}

// sizes are those of the benchmarks, in certificates.
func sizes() []int { return []int{1, 1_000, 100_000} }

// Names of certificates, and those that clients ask for.
const (
	exactFormat    = "site-%06d.example.com"
	wildcardFormat = "*.site-%06d.example.com"
	belowFormat    = "www.site-%06d.example.com"
	unknownFormat  = "none-%06d.example.com"
)

// shuffled returns n names in an order that has nothing to do with the memory they lie in.
func shuffled(format string, n int, seed uint64) []string {
	names := make([]string, n)
	for i, p := range rand.New(rand.NewPCG(seed, seed)).Perm(n) {
		names[i] = fmt.Sprintf(format, p)
	}
	return names
}

// BenchmarkGetCertificate measures what a handshake waits for.
func BenchmarkGetCertificate(b *testing.B) {
	libraries := []library{
		{"everseal", true, loadEverseal},
		{"certmagic", true, loadCertMagic},
		{"autocert", false, loadAutocert},
	}
	for _, l := range libraries {
		for _, n := range sizes() {
			benchmarkLoaded(b, l, loaded{exactFormat, n}, []question{{"exact", exactFormat}, {"unknown", unknownFormat}})
			if l.wildcards {
				benchmarkLoaded(b, l, loaded{wildcardFormat, n}, []question{{"wildcard", belowFormat}})
			}
		}
	}
}

// loaded says for how many names of what format there are certificates.
type loaded struct {
	format string
	n      int
}

// A question is for names of a format.
type question struct{ kind, format string }

// benchmarkLoaded loads certificates and asks for names.
func benchmarkLoaded(b *testing.B, l library, held loaded, questions []question) {
	stop := func() {}
	defer func() { stop() }()
	load := sync.OnceValues(func() (get getCertificate, err error) {
		get, stop, err = l.load(b.Context(), shuffled(held.format, held.n, 1))
		return get, err
	})
	for _, q := range questions {
		b.Run(fmt.Sprintf("%s/certs=%d/client=%s", q.kind, held.n, l.name), func(b *testing.B) {
			get, err := load()
			if err != nil {
				b.Fatal(err)
			}
			ask(b, get, q.format, held.n)
		})
	}
}

// BenchmarkMapLookup is the floor: a plain Go map.
func BenchmarkMapLookup(b *testing.B) {
	for _, n := range sizes() {
		b.Run(fmt.Sprintf("certs=%d", n), func(b *testing.B) {
			certificates := make(map[string]*tls.Certificate, n)
			for _, name := range shuffled(exactFormat, n, 1) {
				certificates[name] = new(tls.Certificate)
			}
			ask(b, func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
				return certificates[strings.ToLower(hello.ServerName)], nil
			}, exactFormat, n)
		})
	}
}

// ask calls get for names at random.
func ask(b *testing.B, get getCertificate, format string, n int) {
	b.Helper()
	asked := shuffled(format, n, 2)
	hello, err := realHello(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	found := format != unknownFormat
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		hello.ServerName = asked[i]
		if i++; i == n {
			i = 0
		}
		certificate, err := get(hello)
		if (err == nil && certificate != nil) != found {
			b.Fatalf("%s: %v, %v", hello.ServerName, certificate, err)
		}
	}
}

// realHello returns a ClientHello as crypto/tls hands it to GetCertificate.
func realHello(ctx context.Context) (*tls.ClientHelloInfo, error) {
	server, client := net.Pipe()
	defer server.Close()
	defer client.Close()
	seen := make(chan *tls.ClientHelloInfo, 1)
	protocols := []string{"h2", "http/1.1"}
	go func() {
		config := &tls.Config{NextProtos: protocols, GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			seen <- hello
			return nil, nil
		}}
		_ = tls.Server(server, config).HandshakeContext(ctx)
		_ = server.Close()
	}()
	config := &tls.Config{ServerName: "site.example.com", NextProtos: protocols}
	err := tls.Client(client, config).HandshakeContext(ctx)
	select {
	case hello := <-seen:
		return hello, nil
	default:
		return nil, fmt.Errorf("no ClientHello was seen: %w", err)
	}
}
