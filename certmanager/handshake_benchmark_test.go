package certmanager_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"testing"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// BenchmarkHandshake measures whole handshakes, the client's part included, over a pipe: with the manager's
// configuration, and with one that has the same certificate in it. To compare them, use benchstat -col /config.
func BenchmarkHandshake(b *testing.B) {
	managed := benchmarkConfig(b)
	certificate, err := managed.GetCertificate(&tls.ClientHelloInfo{ServerName: "example.com"})
	if err != nil {
		b.Fatal(err)
	}
	static := &tls.Config{Certificates: []tls.Certificate{*certificate}, NextProtos: managed.NextProtos}
	versions := []struct {
		name   string
		number uint16
	}{{"1.2", tls.VersionTLS12}, {"1.3", tls.VersionTLS13}}
	configs := []struct {
		name   string
		config *tls.Config
	}{{"static", static}, {"manager", managed}}
	for _, version := range versions {
		for _, resumed := range []bool{false, true} {
			for _, server := range configs {
				b.Run(fmt.Sprintf("tls=%s/resumed=%t/config=%s", version.name, resumed, server.name), func(b *testing.B) {
					sessions := tls.NewLRUClientSessionCache(1)
					// What the client verifies is not measured.
					client := &tls.Config{ServerName: "example.com", InsecureSkipVerify: true, MinVersion: version.number, MaxVersion: version.number,
						ClientSessionCache: sessions}
					shakeHands(b, client, server.config, false)
					if !resumed {
						sessions = tls.NewLRUClientSessionCache(1)
					}
					client.ClientSessionCache = frozen{sessions}
					b.ReportAllocs()
					for b.Loop() {
						shakeHands(b, client, server.config, resumed)
					}
				})
			}
		}
	}
}

// shakeHands has the client read one byte from the server, before which the tickets of TLS 1.3 come.
func shakeHands(b testing.TB, client, server *tls.Config, resumed bool) {
	local, remote := net.Pipe()
	served := make(chan error, 1)
	go func() {
		defer remote.Close()
		_, err := tls.Server(remote, server).Write([]byte("x"))
		served <- err
	}()
	conn := tls.Client(local, client)
	_, err := conn.Read(make([]byte, 1))
	local.Close()
	if err := errors.Join(err, <-served); err != nil || conn.ConnectionState().DidResume != resumed {
		b.Fatalf("resumed %t, want %t; %v", conn.ConnectionState().DidResume, resumed, err)
	}
}

// benchmarkConfig returns the configuration of a manager that has a certificate.
func benchmarkConfig(b *testing.B) *tls.Config {
	b.Helper()
	obtained := make(chan struct{})
	m, err := certmanager.New(certmanager.Config{
		Names: []string{"example.com"}, Issuers: []certmanager.Issuer{newLocalCA(b, "local")},
		Storage: new(storage.Memory), Logger: slog.New(slog.DiscardHandler),
		OnEvent: func(e certmanager.Event) {
			if e.Kind == certmanager.EventObtained {
				close(obtained)
			}
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	<-obtained
	cancel() // what it has it serves on
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
	return m.TLSConfig()
}
