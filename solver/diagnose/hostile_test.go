package diagnose_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/diagnose"
	"github.com/everseal/everseal/solver/internal/solvertest"
)

// Redirects reach no port, scheme or network that a CA would not follow to.
func TestDiagnoseKeepsOut(t *testing.T) {
	inside := []string{"10.0.0.5", "fd00::5", "100.64.0.5", "intern.example.com"}
	local := []string{"127.0.0.1", "::1", "169.254.169.254", "fe80::1", "0.0.0.0", "::ffff:127.0.0.1", "64:ff9b::a9fe:a9fe", "local.example.com"}
	never := []string{
		"http://example.com:8080/", "http://example.com:22/", "https://example.com:8443/", "http://192.0.2.9:6379/", "http://example.com:00080/",
		"ftp://192.0.2.9/", "file:///etc/passwd", "gopher://192.0.2.9:80/", "unix:/run/docker.sock", "javascript:0", "http://[fe80::1%25eth0]/", "http:///",
	}
	run := func(private bool, first, target string) *world {
		w := newWorld(t)
		w.add("example.com", "A", first)
		w.add("intern.example.com", "A", "10.0.0.5")
		w.add("local.example.com", "A", "127.0.0.1")
		w.put(first+":80", solvertest.ServeHTTP(t, redirect(target)))
		solvertest.Present(t, w.http01, overHTTP)
		from := w.vantage()
		from.Private = private
		d := diagnose.Before(t.Context(), overHTTP, from)
		requireBounded(t, d)
		if d.Cause == "" || d.Seen {
			t.Errorf("a redirect to %s: %s", target, d)
		}
		return w
	}
	host := func(name string) string {
		if addr, err := netip.ParseAddr(name); err == nil && addr.Is6() {
			return "[" + name + "]"
		}
		return name
	}
	for _, test := range []struct {
		private bool
		first   string
		blocked []string
		reached []string
	}{
		{false, "192.0.2.1", slices.Concat(inside, local), []string{"192.0.2.9"}},
		{true, "192.0.2.1", local, inside},
		{true, "10.0.0.1", local, inside},
	} {
		for _, target := range never {
			if w := run(test.private, test.first, target); len(w.dialed) != 1 {
				t.Errorf("a redirect from %s to %s led to %q", test.first, target, w.dialed)
			}
		}
		for _, name := range test.blocked {
			for _, scheme := range []string{"http://", "https://"} {
				if w := run(test.private, test.first, scheme+host(name)+"/"); len(w.dialed) != 1 {
					t.Errorf("a redirect from %s to %s led to %q (private: %v)", test.first, name, w.dialed, test.private)
				}
			}
		}
		for _, name := range test.reached {
			if w := run(test.private, test.first, "https://"+host(name)+"/"); len(w.dialed) != 2 || !strings.HasSuffix(w.dialed[1], ":443") {
				t.Errorf("a redirect from %s to %s led to %q (private: %v)", test.first, name, w.dialed, test.private)
			}
		}
	}
}

// A name that leads into a private network or to this machine is not asked there, unless the CA is private.
func TestDiagnoseOfLocalAddresses(t *testing.T) {
	for _, address := range []string{"127.0.0.1", "169.254.169.254", "0.0.0.0", "10.0.0.5"} {
		w := newWorld(t)
		w.add("example.com", "A", address)
		w.put(address+":80", solvertest.ServeHTTP(t, w.answering()))
		if d := w.diagnose(overHTTP, nil); d.Cause != diagnose.CausePrivateAddress || len(w.dialed) > 0 {
			t.Errorf("%s, having dialled %q", d, w.dialed)
		}
		from := w.vantage()
		from.Private = true
		requireNoCause(t, diagnose.Before(t.Context(), overHTTP, from), true)
	}
}

// What servers send is taken within bounds, and shown so that it can do no harm.
func TestDiagnoseHostileServers(t *testing.T) {
	many := strings.Repeat("\x1b[31m<script>\u202e", 10_000)
	names := make([]string, 2000)
	for i := range names {
		names[i] = fmt.Sprintf("\x1b%d.example", i)
	}
	for name, handler := range map[string]http.Handler{
		"headers": respond(404, "", "Server", many[:2000], "Via", many[:2000], "Cf-Ray", many[:2000]),
		"a body":  respond(200, many),
		"a body without end": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				io.WriteString(w, many)
			}
		}),
		"a redirect":        respond(302, "", "Location", "http://"+strings.Repeat("a", 9000)+".example/"),
		"a redirect's path": respond(302, "", "Location", "/"+strings.Repeat("a", 9000)),
		"a redirect's host": respond(302, "", "Location", "http://\x1b[31m/"),
		"headers at length": respond(404, "", "X-Long", strings.Repeat("x", 1<<20)),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.site(handler)
			d := w.diagnose(overHTTP, nil)
			requireBounded(t, d)
			if d.Cause == "" || d.Seen {
				t.Errorf("%+v", d)
			}
		})
	}
	t.Run("a certificate", func(t *testing.T) {
		w := newWorld(t)
		cert := solvertest.NewCertificate(t, &x509.Certificate{DNSNames: names, Subject: pkix.Name{CommonName: many[:5000]}})
		w.tlsSite(&tls.Config{NextProtos: []string{solver.ALPNProto}, Certificates: []tls.Certificate{*cert}})
		d := w.diagnose(overTLS, nil)
		requireBounded(t, d)
		if d.Cause != diagnose.CauseOtherServer {
			t.Errorf("%+v", d)
		}
	})
	t.Run("the CA's words", func(t *testing.T) {
		w := newWorld(t)
		w.site(w.answering())
		d := w.diagnose(overHTTP, refusal(acme.ErrConnection, many))
		requireBounded(t, d)
		if d.Cause != diagnose.CauseVantagePoints {
			t.Errorf("%+v", d)
		}
	})
}

// A zone may say anything, in any number.
func TestDiagnoseHostileZone(t *testing.T) {
	w := newWorld(t)
	for i := range 60 {
		w.add("example.com", "A", fmt.Sprintf("192.0.2.%d", i))
		w.add("example.com", "AAAA", fmt.Sprintf("2001:db8::%d", i))
		w.add(solvertest.ChallengeName, "TXT", strings.Repeat("\x1b]", 100))
		w.add("example.com", "CAA", "0 issue "+strings.Repeat("\x1b", 100))
	}
	d := w.diagnose(overHTTP, nil)
	requireBounded(t, d)
	if len(d.Visits) != 8 || len(w.dialed) != 8 || d.Cause != diagnose.CauseCAA {
		t.Errorf("%d visits, %d connections, %s", len(d.Visits), len(w.dialed), d)
	}
	d = w.diagnose(overDNS, nil)
	requireBounded(t, d)
	if d.Cause != diagnose.CauseCAA || d.Seen {
		t.Errorf("%s", d)
	}

	w = newWorld(t)
	hostile := "\x1b[31m\r\n." + strings.Repeat("x", 60) + ".acme.example"
	w.Zone("acme.example", "198.51.100.9")[0].Add("acme.example", "NS", hostile)
	w.add(solvertest.ChallengeName, "CNAME", hostile)
	d = w.diagnose(overDNS, nil)
	requireBounded(t, d)
	if d.Cause != diagnose.CauseForeignAlias {
		t.Errorf("%s", d)
	}

	w = newWorld(t)
	var addresses []string
	for i := range 30 {
		addresses = append(addresses, fmt.Sprintf("203.0.113.%d", i))
	}
	for _, s := range w.Zone("many.example", addresses...) {
		for range 20 {
			s.Add("_acme-challenge.many.example", "TXT", strings.Repeat("\x1b]", 100))
		}
	}
	d = w.diagnose(solvertest.NewProof(acme.TypeDNS01, "many.example"), nil)
	requireBounded(t, d)
	if d.Cause != diagnose.CauseRecordMissing {
		t.Errorf("%s", d)
	}

	w = newWorld(t)
	w.add(solvertest.ChallengeName, "CNAME", "a.example.com")
	w.add("a.example.com", "CNAME", solvertest.ChallengeName)
	requireBounded(t, w.diagnose(overDNS, nil))
}
