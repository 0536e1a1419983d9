package certmanager_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
)

var bothKinds = []certmanager.KeyType{certmanager.ECDSAP256, certmanager.RSA2048}

// kindOf returns the kind of key of the certificate that a client with the configuration is shown.
func (w *world) kindOf(config *tls.Config, name string) string {
	w.t.Helper()
	conn, err := w.dial(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	config.ServerName, config.RootCAs, config.Time = name, w.ca.Roots(), time.Now
	client := tls.Client(conn, config)
	if err := client.HandshakeContext(w.t.Context()); err != nil {
		return err.Error()
	}
	return kindOfKey(client.ConnectionState().PeerCertificates[0])
}

func kindOfKey(c *x509.Certificate) string {
	switch key := c.PublicKey.(type) {
	case *ecdsa.PublicKey:
		return "ecdsa-" + key.Params().Name
	case *rsa.PublicKey:
		return fmt.Sprintf("rsa-%d", key.N.BitLen())
	}
	return "another"
}

// oldClient understands RSA alone.
func oldClient() *tls.Config {
	return &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}}
}

// There is a certificate with each kind of key, obtained, loaded and renewed by itself, and each client is served with one
// that it understands.
func TestKindsOfKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		config := w.config()
		config.Subjects = []certmanager.Subject{{Names: []string{"example.com", "www.example.com"}, KeyTypes: bothKinds}}
		m, stop := w.start(config)
		if err := m.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		check := func() {
			t.Helper()
			if kind := w.kindOf(new(tls.Config), "www.example.com"); kind != "ecdsa-P-256" {
				t.Errorf("a modern client is shown %s", kind)
			}
			if kind := w.kindOf(oldClient(), "example.com"); kind != "rsa-2048" {
				t.Errorf("an old client is shown %s", kind)
			}
		}
		check()
		serials := map[certmanager.KeyType]string{}
		for s := range m.All() {
			serials[s.KeyType] = s.Serial
		}
		if len(serials) != 2 {
			t.Fatalf("there are certificates %v", serials)
		}
		if err := m.Renew(t.Context(), "example.com"); err != nil {
			t.Fatal(err)
		}
		for s := range m.All() {
			if s.Serial == serials[s.KeyType] {
				t.Errorf("Renew did not replace that with %s", s.KeyType)
			}
		}
		stop()
		orders := w.newOrders()
		_, stop = w.start(config)
		defer stop()
		// While it starts, a client is served with what is loaded and it understands.
		if kind := w.kindOf(new(tls.Config), "www.example.com"); kind != "ecdsa-P-256" && kind != "rsa-2048" {
			t.Errorf("a modern client is shown %s while the manager starts", kind)
		}
		if kind := w.kindOf(oldClient(), "example.com"); kind != "rsa-2048" {
			t.Errorf("an old client is shown %s while the manager starts", kind)
		}
		time.Sleep(80 * 24 * time.Hour)
		check()
		if orders = w.newOrders() - orders; orders != 2 {
			t.Errorf("%d orders for the renewal of two certificates", orders)
		}
	})
}

// A kind of key that can't be had does not keep the other from being served, also to clients that do not understand it:
// crypto/tls tells them.
func TestKindOfKeyThatIsRefused(t *testing.T) {
	for _, lacks := range []string{"ecdsa-P-256", "rsa-2048"} {
		t.Run(lacks, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				local := newLocalCA(t, "local")
				local.work = func(r certmanager.Request) error {
					if kindOfKey(&x509.Certificate{PublicKey: r.Key.Public()}) == lacks {
						return &acme.OrderError{Err: errClosed}
					}
					return nil
				}
				config := w.fromLocalCA(local, "example.com")
				config.KeyTypes = bothKinds
				m, stop := w.running(config)
				defer stop()
				w.await(certmanager.EventObtained, "example.com", 1)
				w.await(certmanager.EventFailed, "example.com", 1)
				withHello(t, nil, func(hello *tls.ClientHelloInfo) {
					c, err := m.GetCertificate(named(hello, "example.com"))
					if err != nil {
						t.Fatal(err)
					}
					if kind := kindOfKey(leafOf(t, c)); kind == lacks {
						t.Errorf("served with %s", kind)
					}
				})
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if err := m.Wait(ctx, "example.com"); err == nil {
					t.Error("Wait says that all is served")
				}
			})
		})
	}
}

// A name that is configured with several kinds of key takes over from one obtained on demand with the first of its
// certificates that comes.
func TestHeirWithKindsOfKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		local := newLocalCA(t, "local")
		config := w.onDemandFrom(local)
		config.KeyTypes = bothKinds
		m, stop := w.start(config)
		defer stop()
		if kind := w.kindOfLocal(local, "example.com"); kind != "ecdsa-P-256" {
			t.Fatalf("on demand came %s", kind)
		}
		valid := func(names int) (n int) {
			time.Sleep(time.Minute)
			for s := range m.All() {
				if s.State == certmanager.StateValid && len(s.Names) == names {
					n++
				}
			}
			return n
		}
		if n := valid(1); n != 2 {
			t.Errorf("%d certificates on demand", n)
		}
		if err := m.Manage(certmanager.Subject{Names: []string{"example.com", "www.example.com"}}); err != nil {
			t.Fatal(err)
		}
		if n := valid(2); n != 2 {
			t.Errorf("%d certificates that are configured", n)
		}
		if n := len(statuses(m)); n != 2 {
			t.Errorf("%d certificates, though those on demand are replaced", n)
		}
	})
}

// kindOfLocal returns the kind of key that a modern client is shown.
func (w *world) kindOfLocal(ca *localCA, name string) string {
	w.t.Helper()
	conn, err := w.dial(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	roots := x509.NewCertPool()
	roots.AddCert(ca.root)
	client := tls.Client(conn, &tls.Config{ServerName: name, RootCAs: roots, Time: time.Now})
	if err := client.HandshakeContext(w.t.Context()); err != nil {
		return err.Error()
	}
	return kindOfKey(client.ConnectionState().PeerCertificates[0])
}

// TestKindsOfKeyByOpenSSL has a client that is not Go's.
func TestKindsOfKeyByOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("no openssl: ", err)
	}
	s := newSite(t, "example.com")
	s.config.KeyTypes = bothKinds
	s.serve(t)
	if err := s.manager.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		options []string
		want    string
	}{
		{nil, "id-ecPublicKey"},
		{[]string{"-tls1_2"}, "id-ecPublicKey"},
		{[]string{"-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"}, "rsaEncryption"},
		{[]string{"-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"}, "id-ecPublicKey"},
		{[]string{"-tls1_2", "-sigalgs", "RSA+SHA256"}, "rsaEncryption"},
		{[]string{"-tls1_2", "-groups", "X25519"}, "rsaEncryption"}, // no curve for the key
		{[]string{"-tls1_3", "-sigalgs", "rsa_pss_rsae_sha256"}, "rsaEncryption"},
		{[]string{"-tls1_3", "-sigalgs", "ecdsa_secp256r1_sha256"}, "id-ecPublicKey"},
	} {
		command := exec.CommandContext(t.Context(), openssl, append([]string{"s_client", "-connect", s.secure, "-servername", "example.com"}, test.options...)...)
		shown, err := command.Output()
		if err != nil {
			t.Errorf("%v: %v", test.options, err)
			continue
		}
		text := exec.CommandContext(t.Context(), openssl, "x509", "-noout", "-text")
		text.Stdin = bytes.NewReader(shown)
		certificate, err := text.CombinedOutput()
		if err != nil || !bytes.Contains(certificate, []byte(test.want)) {
			t.Errorf("%v: is shown no certificate with %s: %v", test.options, test.want, err)
		}
	}
}
