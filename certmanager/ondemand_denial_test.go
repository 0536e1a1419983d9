package certmanager_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager"
)

// TestDenialsAreUnrecognizedNames shows which alert a client gets by either version of TLS: unrecognized_name for what is
// not to have a certificate, internal_error for what failed; and that the certificates of the server's own come first.
func TestDenialsAreUnrecognizedNames(t *testing.T) {
	const unrecognized, failure = "unrecognized name", "internal error"
	for name, test := range map[string]struct {
		server string
		answer error
		fails  bool // the CA
		want   string
	}{
		"denied":             {"example.com", errForbidden, false, unrecognized},
		"policy unreachable": {"example.com", errUnreachable, false, failure},
		"CA refuses":         {"example.com", nil, true, failure},
		"one label":          {"localhost", nil, false, unrecognized},
		"underscore":         {"a_b.example.com", nil, false, unrecognized},
		"address":            {"192.0.2.7", nil, false, unrecognized}, // which clients do not send
		"nothing":            {"", nil, false, unrecognized},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(name+" "+tls.VersionName(version), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					if test.fails {
						w.ca.Refuse(test.server)
					}
					m, stop := w.running(w.onDemand(&policy{answer: test.answer}))
					defer stop()
					client := &tls.Config{ServerName: test.server, InsecureSkipVerify: true, MaxVersion: version}
					conn, err := w.dial(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					defer conn.Close()
					if err := tls.Client(conn, client).HandshakeContext(t.Context()); !strings.Contains(fmt.Sprint(err), "remote error: tls: "+test.want) {
						t.Errorf("the client is told %v, want %s", err, test.want)
					}
					if test.want != unrecognized {
						return
					}
					own := m.TLSConfig()
					own.Certificates = []tls.Certificate{ownCertificate(t)}
					if leaf := leafBy(t, own, client); leaf != "own.example" {
						t.Errorf("the client is shown the certificate of %q, want the server's own", leaf)
					}
				})
			})
		}
	}
}

// leafBy returns the common name of the certificate that the client is shown.
func leafBy(t *testing.T, server, client *tls.Config) string {
	t.Helper()
	l := newPipeListener()
	defer l.Close()
	go serveHandshakes(tls.NewListener(l, server))
	conn, err := l.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := tls.Client(conn, client)
	if err := c.HandshakeContext(t.Context()); err != nil {
		t.Error(err)
		return ""
	}
	return c.ConnectionState().PeerCertificates[0].Subject.CommonName
}

// ownCertificate returns one of the server's own.
func ownCertificate(t *testing.T) tls.Certificate {
	t.Helper()
	ca := newLocalCA(t, "own.example")
	return tls.Certificate{Certificate: [][]byte{ca.root.Raw}, PrivateKey: ca.key}
}

// TestNewNamesAreCapped has a scanner make up names of one registered domain that the policy allows. It gets as many as
// the configuration says within an hour; other domains, what is stored and renewals do not suffer.
func TestNewNamesAreCapped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, local := newWorld(t), newLocalCA(t, "local")
		local.lifetime = 2 * 24 * time.Hour
		var p policy
		config := w.onDemand(&p)
		config.Issuers, config.MaxNewNames = []certmanager.Issuer{local}, 5
		m, stop := w.running(config)
		name := func(n int) string { return strings.Repeat("git.", n) + "example.co.uk" }
		got := func() (n int) {
			for i := 1; i <= 60; i++ {
				certificate, err := ask(t, m, name(i))
				if err != nil {
					t.Errorf("%s: %v", name(i), err)
				}
				if certificate != nil {
					n++
				}
			}
			return n
		}
		for range 3 {
			if n := got(); n != 5 {
				t.Errorf("%d names have a certificate, want 5", n)
			}
		}
		if n := p.count(); n != 60 {
			t.Errorf("the policy was asked %d times, want once for each name", n)
		}
		if c, err := ask(t, m, "www.example.org"); c == nil || err != nil {
			t.Errorf("another domain: %v", err)
		}
		time.Sleep(12*time.Minute + cappedPeriod)
		if n := got(); n != 6 {
			t.Errorf("%d names have a certificate after a fifth of the hour, want 6", n)
		}
		stop()
		m, stop = w.running(config)
		defer stop()
		if n := got(); n != 6+5 {
			t.Errorf("%d names have a certificate after a restart, want those stored and 5", n)
		}
		issued := local.count()
		time.Sleep(36 * time.Hour)
		if n := local.count() - issued; n != 6+5+1 {
			t.Errorf("%d renewals, want those of all, and of the other domain's", n)
		}
	})
}

// cappedPeriod is for how long a name is not asked for again that was one too many.
const cappedPeriod = 5 * time.Minute

// TestPolicyIsProbed shows that a policy that allows whatever it is asked is told of at the start, which does not wait for
// the answer.
func TestPolicyIsProbed(t *testing.T) {
	for _, test := range []struct {
		answer   error
		warnings int
	}{{nil, 1}, {errForbidden, 0}, {errUnreachable, 0}} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			p := policy{answer: test.answer}
			release := make(chan struct{})
			config := w.config("example.com")
			config.OnDemand = func(ctx context.Context, q certmanager.Question) error {
				<-release // it takes its time
				return p.ask(ctx, q)
			}
			m, stop := w.start(config)
			w.await(certmanager.EventObtained, "example.com", 1)
			close(release)
			synctest.Wait()
			if len(p.probes) != 1 || p.count() != 0 {
				t.Fatalf("probed with %+v, asked %d times; want one probe", p.probes, p.count())
			}
			if q := p.probes[0]; q.Renewal || q.Remote.IsValid() {
				t.Errorf("the question is %+v", q)
			}
			if n := w.count(certmanager.EventWarning); n != test.warnings {
				t.Errorf("%d warnings when the policy answers %v, want %d", n, test.answer, test.warnings)
			}
			if test.answer == nil {
				if _, err := ask(t, m, p.probes[0].Name); errors.Is(err, certmanager.ErrDenied) {
					t.Error("the probe counts as a denial")
				}
			}
			stop()
			first := p.probes[0].Name
			_, stop = w.running(config)
			stop()
			if len(p.probes) < 2 || p.probes[len(p.probes)-1].Name == first {
				t.Errorf("%d probes of two starts, want two with different names", len(p.probes))
			}
		})
	}
}

// TestNoPublicNameOnDemand has clients ask for names that no public CA issues for: they are turned away, and the policy is asked
// once in a while.
func TestNoPublicNameOnDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := newWorld(t), new(policy)
		config := w.onDemand(p)
		config.Issuers = nil // Let's Encrypt, which is not asked
		m, stop := w.running(config)
		defer stop()
		for range 3 {
			if c, err := ask(t, m, "host.internal"); c != nil || err != nil {
				t.Errorf("%v, %v", c, err)
			}
		}
		if n := p.count(); n != 1 {
			t.Errorf("the policy was asked %d times", n)
		}
	})
}
