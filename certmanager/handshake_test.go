package certmanager_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage/storagetest"
)

// TestHandshake asks in all the ways that clients ask.
func TestHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		config := w.config("example.com", "*.example.com", "www.example.com", "192.0.2.1", "2001:db8::1")
		config.DefaultName = "Example.COM"
		config.Solvers = append(config.Solvers, newDNS01(w.ca))
		m, stop := w.serving(config)
		defer stop()
		here := &net.TCPAddr{IP: net.ParseIP("192.0.2.1"), Port: 443}
		for _, test := range []struct {
			name string
			addr *net.TCPAddr
			want string // the certificate's name; empty: none
		}{
			{"example.com", here, "example.com"},
			{"eXample.com", here, "example.com"},
			{"www.example.com", here, "www.example.com"},
			{"WWW.EXAMPLE.COM", here, "www.example.com"},
			{"api.example.com", here, "*.example.com"},
			{"API.example.com", here, "*.example.com"},
			{"a.b.example.com", here, ""},
			{"example.net", here, ""},
			{"com", here, ""},
			{"", here, "192.0.2.1"},
			{"", &net.TCPAddr{IP: net.ParseIP("::ffff:192.0.2.1"), Port: 443}, "192.0.2.1"},
			{"", &net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Zone: "eth0", Port: 443}, "2001:db8::1"},
			{"", &net.TCPAddr{IP: net.ParseIP("192.0.2.99"), Port: 443}, "example.com"},
			{"", nil, "example.com"},
			{"192.0.2.1", here, "192.0.2.1"}, // no client may ask so, and none is harmed
		} {
			var local net.Addr
			if test.addr != nil {
				local = test.addr
			}
			withHello(t, local, func(hello *tls.ClientHelloInfo) {
				certificate, err := m.GetCertificate(named(hello, test.name))
				got := ""
				if certificate != nil {
					got = strings.Join(append(leafOf(t, certificate).DNSNames, addresses(leafOf(t, certificate))...), " ")
				}
				if got != test.want || err != nil {
					t.Errorf("%q at %v: %q, %v; want %q", test.name, test.addr, got, err, test.want)
				}
			})
		}
	})
}

// leafOf returns the certificate that a client would be shown.
func leafOf(t *testing.T, c *tls.Certificate) *x509.Certificate {
	t.Helper()
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

func addresses(leaf *x509.Certificate) (all []string) {
	for _, ip := range leaf.IPAddresses {
		all = append(all, ip.String())
	}
	return all
}

// TestHandshakeWithoutDefaultName shows that a client without a name gets none where there is none for it.
func TestHandshakeWithoutDefaultName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m, stop := w.serving(w.config("example.com"))
		defer stop()
		if certificate, err := ask(t, m, ""); certificate != nil || err != nil {
			t.Errorf("%v, %v; want nil, nil", certificate, err)
		}
		if certificate, err := m.GetCertificate(&tls.ClientHelloInfo{}); certificate != nil || err != nil {
			t.Errorf("without a connection: %v, %v; want nil, nil", certificate, err)
		}
	})
}

// TestHandshakeFallback shows that the tls.Config's own certificate serves for names that are not the
// manager's.
func TestHandshakeFallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca := newWorld(t), newLocalCA(t, "fallback")
		m, stop := w.serving(w.config("example.com"))
		defer stop()
		config := m.TLSConfig()
		config.Certificates = []tls.Certificate{{Certificate: [][]byte{ca.root.Raw}, PrivateKey: ca.key, Leaf: ca.root}}
		for name, issuer := range map[string]string{"example.com": "acmetest", "example.net": "fallback"} {
			client, server := net.Pipe()
			go func() {
				defer server.Close()
				_ = tls.Server(server, config).HandshakeContext(t.Context())
			}()
			conn := tls.Client(client, &tls.Config{ServerName: name, InsecureSkipVerify: true})
			if err := conn.HandshakeContext(t.Context()); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if got := conn.ConnectionState().PeerCertificates[0].Issuer.CommonName; !strings.HasPrefix(got, issuer) {
				t.Errorf("%s is served the certificate of %q, want that of %q", name, got, issuer)
			}
			client.Close()
		}
	})
}

// TestHandshakeOfCA shows that who asks by acme-tls/1 gets a challenge's answer or nothing, never a
// certificate of the manager's; and that who offers it among others is served as usual.
func TestHandshakeOfCA(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := new(policy)
		config := w.onDemand(p)
		config.Names = []string{"example.com"}
		m, stop := w.serving(config)
		defer stop()
		withHello(t, nil, func(hello *tls.ClientHelloInfo) {
			for _, name := range append(impossibleNames(), "example.com", "new.example.com", "") {
				validation := named(hello, name)
				validation.SupportedProtos = []string{certmanager.ALPNProto}
				certificate, err := m.GetCertificate(validation)
				if certificate != nil || !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%.40q: a certificate is %t, error %v; want one that says there is no challenge", name, certificate != nil, err)
				}
			}
			both := named(hello, "example.com")
			both.SupportedProtos = []string{certmanager.ALPNProto, "h2"}
			if certificate, err := m.GetCertificate(both); certificate == nil || err != nil {
				t.Errorf("with h2 beside it: %v", err)
			}
		})
		if p.count() != 0 || w.newOrders() != 1 {
			t.Errorf("the policy was asked %d times, and there were %d orders", p.count(), w.newOrders())
		}
	})
}

// TestHandshakeAllocations shows that a handshake for what is there costs no memory.
func TestHandshakeAllocations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		config := w.config("example.com", "*.example.com")
		config.Solvers = append(config.Solvers, newDNS01(w.ca))
		m, stop := w.serving(config)
		defer stop()
		get := m.TLSConfig().GetCertificate
		withHello(t, nil, func(hello *tls.ClientHelloInfo) {
			for _, test := range []struct {
				name  string
				found bool
				most  float64
			}{{"example.com", true, 0}, {"www.example.com", true, 0}, {"WWW.example.com", true, 1}, {"example.net", false, 1}, {"a.b.c.d.e.f.g.example.net", false, 1}} {
				asking := named(hello, test.name)
				if certificate, err := get(asking); (certificate != nil) != test.found || err != nil {
					t.Errorf("%s: found is %t, %v", test.name, certificate != nil, err)
				}
				if n := testing.AllocsPerRun(100, func() { _, _ = get(asking) }); n > test.most {
					t.Errorf("%s: %v allocations, want %v at most", test.name, n, test.most)
				}
			}
		})
	})
}

// TestHandshakeForNameThatComes shows what is said of a managed name that has no certificate.
func TestHandshakeForNameThatComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		front := w.front()
		front.answerWith(hang)
		config := w.config("example.com")
		acmeOf(config).HTTPClient = front.client()
		m, err := certmanager.New(config)
		if err != nil {
			t.Fatal(err)
		}
		check := func(says string) {
			t.Helper()
			for _, name := range []string{"example.com", "EXAMPLE.com"} {
				if _, err := ask(t, m, name); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "example.com") {
					t.Errorf("the error is %v; it ought to say %q", err, says)
				}
			}
		}
		check("call Run or Serve")
		stop := w.run(m)
		synctest.Wait()
		check("being obtained")
		stop()
		check("call Run or Serve")
	})
}

// TestHandshakeDuringStart has clients come while a slow storage is asked for the certificates: they
// wait for it, and one that has to be told of the manager's end is told so without its raw name.
func TestHandshakeDuringStart(t *testing.T) {
	const evil = "\x1b[31m\r\nforged"
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		config := w.config("example.com", "*.example.com")
		config.Solvers = append(config.Solvers, newDNS01(w.ca))
		_, stop := w.serving(config)
		stop()
		distant := &storagetest.Faulty{Store: w.store}
		distant.SetFaults(storagetest.Fault{Kind: storagetest.Slow, Delay: 10 * time.Second})
		config.Storage = distant
		_, stop = w.running(config)
		for _, name := range []string{"example.com", "www.example.com"} {
			if _, err := w.handshake(t.Context(), name); err != nil {
				t.Errorf("%s, before it was loaded: %v", name, err)
			}
		}
		stop()
		if n := w.newOrders(); n != 2 {
			t.Errorf("%d orders, want 2", n)
		}

		m, stop := w.running(config)
		answer := make(chan error, 1)
		go func() { _, err := ask(t, m, evil+".example.com"); answer <- err }()
		synctest.Wait()
		stop()
		if err := <-answer; err == nil || strings.ContainsAny(err.Error(), "\x1b\r\n") {
			t.Errorf("told of the end: %v", err)
		}
	})
}
