package solver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/solver/internal/challenge"
)

// newHello returns what crypto/tls hands to GetCertificate for a CA's handshake, which goes on until ctx or
// the test has ended.
func newHello(ctx context.Context, tb testing.TB) *tls.ClientHelloInfo {
	tb.Helper()
	client, server := net.Pipe()
	hellos, ended := make(chan *tls.ClientHelloInfo), make(chan struct{})
	config := &tls.Config{NextProtos: []string{ALPNProto}, GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		hellos <- hello
		<-ended
		return nil, errors.New("only the ClientHello was wanted")
	}}
	var sides sync.WaitGroup
	sides.Go(func() { _ = tls.Server(server, config).HandshakeContext(ctx) })
	sides.Go(func() {
		_ = tls.Client(client, &tls.Config{ServerName: "example.com", NextProtos: []string{ALPNProto}}).Handshake()
	})
	hello := <-hellos
	tb.Cleanup(func() {
		close(ended)
		client.Close()
		server.Close()
		sides.Wait()
	})
	return hello
}

// named returns the hello of the same handshake for another name.
func named(hello *tls.ClientHelloInfo, name string) *tls.ClientHelloInfo {
	other := *hello
	other.ServerName = name
	return &other
}

// A scanner's handshakes cost storage no more than the bound, and the error says which of them were
// looked up. A CA's are answered meanwhile.
func TestHandshakeScanIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &sharedStore{latency: 5 * time.Millisecond}
		s := &TLSALPN01{Storage: store}
		hello := newHello(t.Context(), t)
		p := orderProof("pending.example", "ca.example", "account", "token")
		if err := (&TLSALPN01{Storage: &store.Memory}).Present(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		var unknown, busy atomic.Int64
		var clients sync.WaitGroup
		begun := time.Now()
		for i := range 5000 {
			clients.Go(func() {
				switch certificate, err := s.GetCertificate(named(hello, fmt.Sprintf("scan%d.example", i))); {
				case certificate == nil && errors.Is(err, fs.ErrNotExist):
					unknown.Add(1)
				case certificate == nil && errors.Is(err, errBusy):
					busy.Add(1)
				default:
					t.Errorf("a scanner got %v, %v", certificate, err)
				}
			})
			if i%1000 == 500 {
				for range 6 {
					clients.Go(func() {
						if certificate, err := s.GetCertificate(named(hello, "pending.example")); certificate == nil || err != nil {
							t.Errorf("the CA got %v, %v", certificate, err)
						}
					})
				}
			}
			_ = pause(t.Context(), time.Millisecond)
		}
		clients.Wait()
		if n, most := unknown.Load(), allowed(time.Since(begun)); n > most || n+busy.Load() != 5000 {
			t.Errorf("%d were looked up, %d are allowed; %d were turned away", n, most, busy.Load())
		}
	})
}

// A scanner that asks for a name all the time does not hide the answer that another member presents.
func TestAnswerIsFoundWhileItsNameIsScanned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &sharedStore{latency: 5 * time.Millisecond}
		s := &TLSALPN01{Storage: store}
		other := &TLSALPN01{Storage: &store.Memory}
		hello := newHello(t.Context(), t)
		ctx, cancel := context.WithCancel(t.Context())
		var scanner sync.WaitGroup
		scanner.Go(func() {
			for ctx.Err() == nil {
				scanner.Go(func() { _, _ = s.GetCertificate(hello) })
				_ = pause(ctx, 10*time.Millisecond)
			}
		})
		for i := range 20 {
			p := orderProof("example.com", fmt.Sprint("ca", i), "account", "token")
			if err := other.Present(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			certificate, err := s.GetCertificate(hello)
			if err != nil {
				t.Fatalf("the CA got %v", err)
			}
			if err := isAnswer(certificate, p.KeyAuthorization); err != nil {
				t.Error(err)
			}
			if err := other.CleanUp(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			_ = pause(t.Context(), time.Duration(i)*37*time.Millisecond)
		}
		cancel()
		scanner.Wait()
	})
}

func isAnswer(certificate *tls.Certificate, keyAuthorization string) error {
	want := challenge.ACMEIdentifier(keyAuthorization).Value
	leaf, err := x509.ParseCertificate(certificate.Certificate[0])
	if err != nil {
		return err
	}
	for _, extension := range leaf.Extensions {
		if string(extension.Value) == string(want) {
			return nil
		}
	}
	return fmt.Errorf("the certificate is not the answer %q", keyAuthorization)
}

// BenchmarkScanner asks for random tokens and names as fast as they come, with more clients than there
// are places to wait. loads/op is the storage's share in a request, which falls as requests come faster;
// the benchmark fails if the storage is asked more often than the bound allows.
func BenchmarkScanner(b *testing.B) {
	b.Run("http-01", func(b *testing.B) {
		store := new(sharedStore)
		handler := (&HTTP01{Storage: store}).Handler(nil)
		benchmarkScanner(b, store, func(ctx context.Context) (ask func()) {
			request := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
			return func() {
				r := *request
				r.URL = &url.URL{Path: challenge.HTTP01Path + randomName() + randomName()}
				handler.ServeHTTP(discard{make(http.Header)}, &r)
			}
		})
	})
	b.Run("acme-tls/1", func(b *testing.B) {
		store := new(sharedStore)
		s := &TLSALPN01{Storage: store}
		benchmarkScanner(b, store, func(ctx context.Context) (ask func()) {
			hello := newHello(ctx, b)
			return func() {
				if certificate, err := s.GetCertificate(named(hello, randomName()+".example")); certificate != nil || err == nil {
					b.Error("there is an answer to a name made up")
				}
			}
		})
	})
}

// benchmarkScanner makes b.N requests. When the last has begun, the scanner hangs up.
func benchmarkScanner(b *testing.B, store *sharedStore, newScanner func(ctx context.Context) (ask func())) {
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	ask := newScanner(ctx)
	var asked atomic.Int64
	var clients sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	begun := time.Now()
	for range 2 * maxWaiting {
		clients.Go(func() {
			for n := asked.Add(1); n <= int64(b.N); n = asked.Add(1) {
				if n == int64(b.N) {
					cancel()
				}
				ask()
			}
		})
	}
	clients.Wait()
	loads := store.loads.Load()
	if most := allowed(time.Since(begun)); loads > most {
		b.Errorf("storage was asked %d times, %d are allowed", loads, most)
	}
	b.ReportMetric(float64(loads)/float64(b.N), "loads/op")
}

func randomName() string { return strconv.FormatUint(rand.Uint64(), 36) }

// A discard is an http.ResponseWriter that keeps nothing.
type discard struct{ header http.Header }

func (d discard) Header() http.Header       { return d.header }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}
