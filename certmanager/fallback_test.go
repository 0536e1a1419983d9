package certmanager_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
)

// formerCertificate returns what a former library may have left for the name.
func formerCertificate(t *testing.T, ca *localCA, name string) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	issued, err := ca.sign([]acme.Identifier{{Type: acme.TypeDNS, Value: name}}, key.Public(), 30*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: issued.Chain, PrivateKey: key}
}

// former is what a former library serves: certificates for some names.
func former(t *testing.T, ca *localCA, names ...string) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	all := make(map[string]*tls.Certificate)
	for _, name := range names {
		all[name] = formerCertificate(t, ca, name)
	}
	return func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if c := all[hello.ServerName]; c != nil {
			return c, nil
		}
		return nil, errors.New("the former library has none")
	}
}

// issuerOf returns the common name of who signed what the manager serves, or the error's text.
func issuerOf(t *testing.T, m *certmanager.Manager, name string) string {
	t.Helper()
	c, err := ask(t, m, name)
	switch {
	case err != nil:
		return err.Error()
	case c == nil:
		return "unrecognized_name"
	}
	return leafOf(t, c).Issuer.CommonName
}

// A server that moves from another library serves what that has as long as the CA is down, and the manager's own
// certificates once they have come: names that are configured, and those on demand.
func TestFallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		local, before := newLocalCA(t, "ours"), newLocalCA(t, "before")
		local.change(func(ca *localCA) { ca.err = errClosed })
		config := w.onDemandFrom(local)
		config.Names = []string{"example.com", "new.example.com"}
		config.Fallback = former(t, before, "example.com", "on-demand.example.net")
		m, err := certmanager.New(config)
		if err != nil {
			t.Fatal(err)
		}
		want := func(name, issuer string) {
			t.Helper()
			if got := issuerOf(t, m, name); got != issuer {
				t.Errorf("%s is served by %s, not by %s", name, got, issuer)
			}
		}
		want("example.com", "before") // Run was not called
		stop := w.run(m)
		defer stop()
		synctest.Wait()
		began := time.Now()
		want("example.com", "before")
		want("on-demand.example.net", "before")
		if waited := time.Since(began); waited > time.Second {
			t.Errorf("handshakes waited for %v, though there is a fallback", waited)
		}
		if _, err := ask(t, m, "new.example.com"); !errors.Is(err, errClosed) {
			t.Errorf("of what nobody has: %v", err)
		}
		time.Sleep(time.Minute)
		want("on-demand.example.net", "before")
		local.change(func(ca *localCA) { ca.err = nil })
		time.Sleep(24 * time.Hour)
		issuerOf(t, m, "on-demand.example.net") // which has it obtained
		time.Sleep(time.Minute)
		for _, name := range []string{"example.com", "new.example.com", "on-demand.example.net"} {
			want(name, "ours")
		}
	})
}

// What Serve is given of a tls.Config is a fallback, too: its GetCertificate, and its Certificates for their own names.
func TestServeFallsBack(t *testing.T) {
	s := newSite(t, "example.com", "www.example.com")
	local, before := newLocalCA(t, "ours"), newLocalCA(t, "before")
	local.change(func(ca *localCA) { ca.err = errClosed })
	s.config.Issuers = []certmanager.Issuer{local}
	s.server.TLSConfig = &tls.Config{
		GetCertificate: former(t, before, "example.com"),
		Certificates:   []tls.Certificate{*formerCertificate(t, before, "www.example.com"), *formerCertificate(t, before, "www.example.org")},
	}
	s.start(t)
	defer s.mustStop(t)
	for e := range s.events {
		if e.Kind == certmanager.EventUnavailable || e.Kind == certmanager.EventFailed {
			break
		}
	}
	roots := x509.NewCertPool()
	roots.AddCert(before.root)
	for name, want := range map[string]bool{"example.com": true, "www.example.com": true, "www.example.org": true} {
		conn, err := (&tls.Dialer{Config: &tls.Config{ServerName: name, RootCAs: roots}}).DialContext(t.Context(), "tcp", s.secure)
		if (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			conn.Close()
		}
	}
}

// A server that wants certificates of its clients answers the validation of a CA, which has none, in all versions of TLS.
func TestClientAuthAndChallenges(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			s := newSite(t, "example.com")
			s.server.TLSConfig = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MaxVersion: version}
			s.server.ErrorLog = log.New(io.Discard, "", 0)
			s.config.NoHTTP, s.config.HTTPAddr = true, "" // so that only tls-alpn-01 can prove control
			s.serve(t)
			client := s.client(t)
			if _, err := client.Get("https://example.com:" + port(s.secure) + "/"); err == nil {
				t.Error("a client without a certificate was served")
			}
			transport := client.Transport.(*http.Transport)
			transport.TLSClientConfig.Certificates = []tls.Certificate{*formerCertificate(t, newLocalCA(t, "clients"), "client.example.com")}
			if response, _ := get(t, client, "https://example.com:"+port(s.secure)+"/"); response.StatusCode != http.StatusOK {
				t.Errorf("a client with a certificate: %s", response.Status)
			}
		})
	}
}

// TestGetClientCertificate has a server ask for a certificate of the manager's, before it has come and after.
func TestGetClientCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		local := newLocalCA(t, "ours")
		config := w.fromLocalCA(local, "client.example.com", "www.example.com")
		config.KeyTypes = bothKinds
		m, err := certmanager.New(config)
		if err != nil {
			t.Fatal(err)
		}
		request := &tls.CertificateRequestInfo{Version: tls.VersionTLS13, SignatureSchemes: []tls.SignatureScheme{tls.PSSWithSHA256}}
		if _, err := m.GetClientCertificate(request); err == nil {
			t.Error("there is a certificate before any has come")
		}
		stop := w.run(m)
		defer stop()
		if err := m.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		c, err := m.GetClientCertificate(request)
		if err != nil {
			t.Fatal(err)
		}
		if leaf := leafOf(t, c); leaf.DNSNames[0] != "client.example.com" || kindOfKey(leaf) != "rsa-2048" {
			t.Errorf("the client shows %s with %s", leaf.DNSNames, kindOfKey(leaf))
		}
		request.SignatureSchemes = []tls.SignatureScheme{tls.Ed25519}
		if c, err = m.GetClientCertificate(request); err != nil || len(c.Certificate) != 0 {
			t.Errorf("to a server that takes none the client shows %v, %v", c, err)
		}
	})
}

// What TLSConfig leaves to crypto/tls stays as good as that: HTTP/2, and key exchange with ML-KEM.
func TestModernTLS(t *testing.T) {
	s := newSite(t, "example.com")
	s.serve(t)
	response, _ := get(t, s.client(t), "https://example.com:"+port(s.secure)+"/")
	if response.ProtoMajor != 2 || response.TLS.CurveID != tls.X25519MLKEM768 {
		t.Errorf("%s with %v", response.Proto, response.TLS.CurveID)
	}
}

// A server whose GetCertificate leads to the manager, as with TLSConfig, has nothing to fall back to: it is asked once.
func TestFallbackLeadsBack(t *testing.T) {
	s := newSite(t, "example.com")
	var depth atomic.Int32
	s.server.TLSConfig = &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if depth.Add(1) > 10 {
			panic("it asks itself")
		}
		return s.manager.GetCertificate(hello)
	}}
	s.start(t)
	defer s.mustStop(t)
	if err := s.manager.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn, err := (&tls.Dialer{Config: &tls.Config{ServerName: "other.example.org"}}).DialContext(t.Context(), "tcp", s.secure)
	if err == nil {
		conn.Close()
		t.Error("it has a certificate for what is not managed")
	}
	if n := depth.Load(); n > 1 {
		t.Errorf("it asks itself %d times", n)
	}
}
