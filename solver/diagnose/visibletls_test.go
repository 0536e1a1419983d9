package diagnose_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/diagnose"
	"github.com/everseal/everseal/solver/internal/solvertest"
)

func TestVisibleTLSALPN01(t *testing.T) {
	for identifier, want := range map[string]struct{ address, sni string }{
		"example.com": {"example.com:443", "example.com"},
		"192.0.2.1":   {"192.0.2.1:443", "1.2.0.192.in-addr.arpa"},
		"2001:db8::1": {"[2001:db8::1]:443", "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"},
	} {
		t.Run(identifier, func(t *testing.T) {
			var sni, dialled string
			s := new(solver.TLSALPN01)
			server, results := solvertest.ServeTLS(t, &tls.Config{
				NextProtos: []string{solver.ALPNProto},
				GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
					sni = hello.ServerName
					return s.GetCertificate(hello)
				},
			})
			from := diagnose.Vantage{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
				dialled = address
				return solvertest.DialTo(server)(ctx, network, address)
			}}
			p := solvertest.NewProof(acme.TypeTLSALPN01, identifier)
			solvertest.RequireError(t, diagnose.Visible(t.Context(), p, from), identifier, server, "internal error")
			<-results
			solvertest.Present(t, s, p)
			if err := diagnose.Visible(t.Context(), p, from); err != nil {
				t.Error(err)
			}
			<-results
			if sni != want.sni || dialled != want.address {
				t.Errorf("asked %q for %q, want %q and %q", dialled, sni, want.address, want.sni)
			}
		})
	}
}

// Each of these servers would give the right certificate if it were asked for it.
func TestVisibleTLSALPN01WithoutALPN(t *testing.T) {
	s := new(solver.TLSALPN01)
	p := solvertest.NewProof(acme.TypeTLSALPN01, "example.com")
	solvertest.Present(t, s, p)
	for name, protos := range map[string][]string{"other protocols": {"h2", "http/1.1"}, "no protocols": nil} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(name+" "+tls.VersionName(version), func(t *testing.T) {
				config := solvertest.NewServerConfig(t, s.GetCertificate)
				config.NextProtos, config.MaxVersion = protos, version
				server, _ := solvertest.ServeTLS(t, config)
				from := diagnose.Vantage{Dial: solvertest.DialTo(server)}
				err := diagnose.Visible(t.Context(), p, from)
				if !errors.Is(err, diagnose.CauseNoALPN) {
					t.Errorf("%v, want CauseNoALPN", err)
				}
				solvertest.RequireError(t, err, "example.com", server, "acme-tls/1", "NextProtos", "TLSConfig")
			})
		}
	}
}

func TestVisibleTLSALPN01Reports(t *testing.T) {
	p := solvertest.NewProof(acme.TypeTLSALPN01, "example.com")
	digest := sha256.Sum256([]byte(p.KeyAuthorization))
	other := sha256.Sum256([]byte("another key authorization"))
	extension := func(critical bool, digest []byte) []pkix.Extension {
		value, err := asn1.Marshal(digest)
		if err != nil {
			t.Fatal(err)
		}
		return []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}, Critical: critical, Value: value}}
	}
	var many []string
	for range 500 {
		many = append(many, "\x1b[31m.example")
	}
	for name, test := range map[string]struct {
		template x509.Certificate
		want     string
	}{
		"right":             {x509.Certificate{DNSNames: []string{"example.com"}, ExtraExtensions: extension(true, digest[:])}, ""},
		"another name":      {x509.Certificate{DNSNames: []string{"other.example"}, ExtraExtensions: extension(true, digest[:])}, "other.example"},
		"a further name":    {x509.Certificate{DNSNames: []string{"example.com", "www.example.com"}, ExtraExtensions: extension(true, digest[:])}, "www.example.com"},
		"an address":        {x509.Certificate{IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1)}, ExtraExtensions: extension(true, digest[:])}, "192.0.2.1"},
		"no name":           {x509.Certificate{Subject: pkix.Name{CommonName: "example.com"}, ExtraExtensions: extension(true, digest[:])}, "CN=example.com"},
		"many names":        {x509.Certificate{DNSNames: many}, "31m.example"},
		"a site's own":      {x509.Certificate{DNSNames: []string{"example.com"}, Subject: pkix.Name{CommonName: "Own CA"}}, "CN=Own CA"},
		"not critical":      {x509.Certificate{DNSNames: []string{"example.com"}, ExtraExtensions: extension(false, digest[:])}, "critical"},
		"of another order":  {x509.Certificate{DNSNames: []string{"example.com"}, ExtraExtensions: extension(true, other[:])}, "another"},
		"half of the right": {x509.Certificate{DNSNames: []string{"example.com"}, ExtraExtensions: extension(true, digest[:16])}, "another"},
	} {
		t.Run(name, func(t *testing.T) {
			cert := solvertest.NewCertificate(t, &test.template)
			server, _ := solvertest.ServeTLS(t, &tls.Config{NextProtos: []string{solver.ALPNProto}, Certificates: []tls.Certificate{*cert}})
			err := diagnose.Visible(t.Context(), p, diagnose.Vantage{Dial: solvertest.DialTo(server)})
			if test.want == "" && err != nil {
				t.Error(err)
			}
			if test.want != "" {
				solvertest.RequireError(t, err, "example.com", server, test.want)
				if errors.Is(err, diagnose.CauseNoALPN) {
					t.Errorf("%v: CauseNoALPN though the protocol was offered", err)
				}
			}
		})
	}
}

// A server of another protocol on the port.
func TestVisibleTLSALPN01WithoutTLS(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		conn, err := ln.Accept()
		if err == nil {
			io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\n\r\n"+strings.Repeat("x", 1000))
			io.Copy(io.Discard, conn)
			conn.Close()
		}
	}()
	from := diagnose.Vantage{Dial: solvertest.DialTo(ln.Addr().String())}
	err = diagnose.Visible(t.Context(), solvertest.NewProof(acme.TypeTLSALPN01, "example.com"), from)
	solvertest.RequireError(t, err, "example.com", ln.Addr().String())
	if errors.Is(err, diagnose.CauseNoALPN) {
		t.Errorf("%v: CauseNoALPN of a server without TLS", err)
	}
}
