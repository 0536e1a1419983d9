package solver_test

import (
	"crypto/tls"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/internal/solvertest"
	"github.com/everseal/everseal/storage"
)

var longName = strings.Repeat(strings.Repeat("a", 63)+".", 3) + strings.Repeat("b", 61) // 253 bytes

func TestTLSALPN01(t *testing.T) {
	for identifier, sni := range map[string]string{
		"example.com":           "example.com",
		"a.b.example.com":       "A.B.Example.Com",
		"xn--bcher-kva.example": "xn--bcher-kva.example",
		longName:                longName,
		"192.0.2.1":             "1.2.0.192.in-addr.arpa",
		"2001:db8::1":           "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
	} {
		t.Run(identifier, func(t *testing.T) {
			s := new(solver.TLSALPN01)
			server, _ := solvertest.ServeTLS(t, solvertest.NewServerConfig(t, s.GetCertificate))
			p := solvertest.NewProof(acme.TypeTLSALPN01, identifier)
			if err := solvertest.ValidateTLSALPN01(t, server, sni, p); err == nil {
				t.Fatal("valid before Present")
			}
			solvertest.Present(t, s, p)
			if err := solvertest.ValidateTLSALPN01(t, server, sni, p); err != nil {
				t.Error(err)
			}
			if err := solvertest.ValidateTLSALPN01(t, server, sni, solvertest.WithToken(p, "another-token")); err == nil {
				t.Error("valid for another token")
			}
			solvertest.CleanUp(t, s, p)
			if err := solvertest.ValidateTLSALPN01(t, server, sni, p); err == nil {
				t.Error("valid after CleanUp")
			}
		})
	}
}

func TestTLSALPN01OfAnotherProcess(t *testing.T) {
	store := storage.Dir(t.TempDir())
	server, _ := solvertest.ServeTLS(t, solvertest.NewServerConfig(t, (&solver.TLSALPN01{Storage: store}).GetCertificate))
	p := solvertest.NewProof(acme.TypeTLSALPN01, "2001:db8::1")
	solvertest.Present(t, &solver.TLSALPN01{Storage: store}, p)
	if err := solvertest.ValidateTLSALPN01(t, server, "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", p); err != nil {
		t.Error(err)
	}
}

func TestOtherHandshakesAreNotAnswered(t *testing.T) {
	store := new(watchedStore)
	s := &solver.TLSALPN01{Storage: store}
	solvertest.Present(t, s, solvertest.NewProof(acme.TypeTLSALPN01, "example.com"))
	store.asked()
	for _, protos := range [][]string{nil, {"h2"}, {"acme-tls/1", "h2"}, {"h2", "acme-tls/1"}, {"acme-tls/1", "acme-tls/1"}, {"acme-tls/1.1"}, {"ACME-TLS/1"}} {
		hello := &tls.ClientHelloInfo{ServerName: "example.com", SupportedProtos: protos}
		if cert, err := s.GetCertificate(hello); cert != nil || err != nil || solver.IsChallenge(hello) {
			t.Errorf("%q: %v, %v", protos, cert, err)
		}
		if allocs := testing.AllocsPerRun(100, func() { solver.IsChallenge(hello) }); allocs != 0 {
			t.Errorf("%q: IsChallenge allocates %v times", protos, allocs)
		}
	}
	if n := store.asked(); n != 0 {
		t.Errorf("storage was asked %d times", n)
	}
	server, _ := solvertest.ServeTLS(t, solvertest.NewServerConfig(t, s.GetCertificate))
	conn, err := tls.Dial("tcp", server, &tls.Config{ServerName: "example.com", NextProtos: []string{"h2"}, InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if names := conn.ConnectionState().PeerCertificates[0].DNSNames; names[0] != "own.example" {
		t.Errorf("an ordinary client got the certificate of %q", names)
	}
}

// handshake lets a CA ask the server for a name, and returns what the server makes of it.
func handshake(t *testing.T, server, name string, results <-chan error) error {
	t.Helper()
	conn, err := tls.Dial("tcp", server, &tls.Config{ServerName: name, NextProtos: []string{solver.ALPNProto}, InsecureSkipVerify: true})
	if err == nil {
		conn.Close()
	}
	return <-results
}

func TestHostileServerNamesNeverReachStorage(t *testing.T) {
	store := new(watchedStore)
	s := &solver.TLSALPN01{Storage: store}
	server, results := solvertest.ServeTLS(t, solvertest.NewServerConfig(t, s.GetCertificate))
	reverse := ".0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
	for _, hostile := range []string{
		"..", "../../etc/passwd", `..\..\x`, "a/b", "a..b", "a b", "a_b.example", "*.example.com", "-a.example", "example.com\x00.evil",
		"a\r\nb", "<script>", "bücher.example", "\u212Aelvin.example", "xn--zzzzzzzzz.example", "192.0.2.1.", "1.2.3", "::1:",
		"1.2.3.in-addr.arpa", "1.2.3.4.5.in-addr.arpa", "01.2.0.192.in-addr.arpa", "256.2.0.192.in-addr.arpa",
		"1" + reverse + ".example.in-addr.arpa", "g" + reverse, "11" + reverse, "1.1" + reverse, "" + reverse,
		"1.0.0.0.2.0.c.0.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
		"a" + longName, strings.Repeat("a.", 5000) + "a",
	} {
		err := handshake(t, server, hostile, results)
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%.60q: %v, want that there is no challenge", hostile, err)
		} else if len(err.Error()) > 400 || strings.ContainsAny(err.Error(), "\r\n\x00") {
			t.Errorf("%.60q: the error is %q", hostile, err)
		}
		if n := store.asked(); n != 0 {
			t.Errorf("%.60q: storage was asked %d times", hostile, n)
		}
	}
	for _, unknown := range []string{"example.com", longName, "1.2.0.192.in-addr.arpa", "1" + reverse} {
		if err := handshake(t, server, unknown, results); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %v, want that there is no challenge", unknown, err)
		}
		if n := store.asked(); n != 1 {
			t.Errorf("%q: storage was asked %d times, want once", unknown, n)
		}
	}
}

func TestGetCertificateStorageFailure(t *testing.T) {
	store := new(watchedStore)
	s := &solver.TLSALPN01{Storage: store}
	server, results := solvertest.ServeTLS(t, solvertest.NewServerConfig(t, s.GetCertificate))
	solvertest.Present(t, &solver.TLSALPN01{Storage: store}, solvertest.NewProof(acme.TypeTLSALPN01, "example.com"))
	store.fail(true)
	if err := handshake(t, server, "example.com", results); !errors.Is(err, errStoreDown) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("store down: %v", err)
	}
	store.fail(false)
	damage := func([]byte) ([]byte, error) { return nil, nil }
	if _, err := storage.Update(t.Context(), store, "challenges/tls-alpn-01/example.com", damage); err != nil {
		t.Fatal(err)
	}
	if err := handshake(t, server, "example.com", results); err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "challenges/tls-alpn-01/example.com") ||
		strings.Count(err.Error(), "solver: ") != 1 {
		t.Errorf("record damaged: %v", err)
	}
}

func TestGetCertificateWithoutContext(t *testing.T) {
	hello := &tls.ClientHelloInfo{ServerName: "example.com", SupportedProtos: []string{solver.ALPNProto}}
	if cert, err := new(solver.TLSALPN01).GetCertificate(hello); cert != nil || err == nil || !strings.Contains(err.Error(), "context") {
		t.Errorf("%v, %v", cert, err)
	}
}
