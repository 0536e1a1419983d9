package diagnose_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"unicode"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/diagnose"
	"github.com/everseal/everseal/solver/internal/solvertest"
)

// respond returns a handler that answers with a status and headers, given in pairs.
func respond(status int, body string, headers ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	})
}

func redirect(target string) http.Handler { return respond(http.StatusFound, "", "Location", target) }

// A diagnoseTest is a set-up that is wrong, and what is to be said of it.
type diagnoseTest struct {
	name    string
	proof   acme.Proof
	failure error
	setUp   func(w *world)
	cause   diagnose.Cause
	want    string
}

// requireBounded fails the test if a diagnosis holds text that does not print, or much of it.
func requireBounded(t *testing.T, d *diagnose.Report) {
	t.Helper()
	data, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	if most := 64 << 10; len(data) > most {
		t.Errorf("a diagnosis of %d bytes", len(data))
	}
	if n := len(d.String()); n > 1200 {
		t.Errorf("a sentence of %d bytes", n)
	}
	for _, text := range []string{d.String(), fmt.Sprintf("%+v", *d), d.LogValue().String()} {
		if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("it does not print: %q", text)
		}
	}
	var again diagnose.Report
	if err := json.Unmarshal(data, &again); err != nil || !reflect.DeepEqual(again, *d) {
		t.Errorf("from JSON came\n%+v (%v), want\n%+v", again, err, *d)
	}
}

func (test diagnoseTest) run(t *testing.T) {
	w := newWorld(t)
	test.setUp(w)
	d := w.diagnose(test.proof, test.failure)
	if d.Cause != test.cause || d.String() != test.want {
		t.Errorf("cause %q\n%s\nwant %q\n%s", d.Cause, d, test.cause, test.want)
	}
	switch test.cause {
	case diagnose.CauseCDN, diagnose.CauseRedirect, diagnose.CauseRedirectLoop, diagnose.CauseOtherServer, diagnose.CauseNoALPN, diagnose.CausePortClosed,
		diagnose.CausePortFiltered, diagnose.CauseBrokenServer, diagnose.CauseNoAddress, diagnose.CauseForeignAlias, diagnose.CauseRecordMissing:
		if d.Seen && test.failure == nil {
			t.Error("the answer was seen")
		}
	}
	requireBounded(t, d)
}

const (
	forwardCure = "let that server, or its virtual host for the name, forward /.well-known/acme-challenge/ to this process, or use DNS-01"
	exemptCure  = "exempt /.well-known/acme-challenge/ from redirects"
)

func TestDiagnose(t *testing.T) {
	var tests []diagnoseTest
	for _, group := range [][]diagnoseTest{frontendTests(), serverTests(), mixedTests(), redirectTests(), addressTests(), privateTests(),
		guardTests(), wrappedTests(), originTests(), clientCertificateTests(), recordTests(), nearMissTests(), nameserverTests(), caaTests(), failureTests()} {
		tests = append(tests, group...)
	}
	if len(tests) < 40 {
		t.Fatalf("%d tests", len(tests))
	}
	for _, test := range tests {
		t.Run(test.name, test.run)
	}
}

func frontendTests() []diagnoseTest {
	behind := func(headers ...string) func(w *world) {
		return func(w *world) { w.site(respond(404, "not here", headers...)) }
	}
	const cdnCure = ", not from this process: use DNS-01, or let the CDN forward /.well-known/acme-challenge/"
	tests := []diagnoseTest{
		{setUp: behind("Server", "cloudflare", "Cf-Ray", "8f1-FRA"), name: "Cloudflare", want: "example.com answers from Cloudflare (server: cloudflare)" + cdnCure},
		{setUp: behind("Server", "nginx", "Cf-Ray", "8f1-FRA"), name: "Cloudflare by cf-ray", want: "example.com answers from Cloudflare (cf-ray: 8f1-FRA)" + cdnCure},
		{setUp: behind("Via", "1.1 varnish", "X-Served-By", "cache-fra-1"), name: "Fastly", want: "example.com answers from Fastly (x-served-by: cache-fra-1)" + cdnCure},
		{setUp: behind("X-Fastly-Request-Id", "1f"), name: "Fastly by request", want: "example.com answers from Fastly (x-fastly-request-id: 1f)" + cdnCure},
		{setUp: behind("Server", "CloudFront", "Via", "1.1 1f.cloudfront.net (CloudFront)"), name: "CloudFront", want: "example.com answers from CloudFront (server: CloudFront)" + cdnCure},
		{setUp: behind("Server", "AmazonS3", "Via", "1.1 1f.cloudfront.net (CloudFront)"), name: "CloudFront by via", want: "example.com answers from CloudFront (via: 1.1 1f.cloudfront.net (CloudFront))" + cdnCure},
		{setUp: behind("Server", "AkamaiGHost"), name: "Akamai", want: "example.com answers from Akamai (server: AkamaiGHost)" + cdnCure},
		{setUp: behind("X-Akamai-Transformed", "9 - 0"), name: "Akamai by header", want: "example.com answers from Akamai (x-akamai-transformed: 9 - 0)" + cdnCure},
		{setUp: behind("Via", "1.1 squid.example"), name: "generic Via", want: "example.com answers from a proxy (via: 1.1 squid.example), " +
			"not from this process: use DNS-01, or let the proxy forward /.well-known/acme-challenge/"},
	}
	for i := range tests {
		tests[i].proof, tests[i].cause = overHTTP, diagnose.CauseCDN
	}
	return append(tests, diagnoseTest{
		name: "Cloudflare at one of two addresses", proof: overHTTP, cause: diagnose.CauseCDN,
		setUp: func(w *world) {
			w.site(respond(404, "", "Server", "cloudflare"))
			w.add("example.com", "A", "192.0.2.2")
			w.put("192.0.2.2:80", solvertest.ServeHTTP(w.t, w.answering()))
		},
		want: "example.com at 192.0.2.1 answers from Cloudflare (server: cloudflare), not from this process, while 192.0.2.2 answers right: " +
			"use DNS-01, or let the CDN forward /.well-known/acme-challenge/",
	}, diagnoseTest{
		name: "Cloudflare ends TLS", proof: overTLS, cause: diagnose.CauseCDN,
		setUp: func(w *world) {
			w.add("example.com", "A", "192.0.2.1")
			config := w.certificate("example.com")
			config.NextProtos = []string{"http/1.1"}
			w.put("192.0.2.1:443", solvertest.ServeWithTLS(w.t, config, respond(404, "", "Server", "cloudflare")))
		},
		want: "example.com answers from Cloudflare (server: cloudflare), which ends TLS itself, not from this process: " +
			"use DNS-01, or use HTTP-01 with the CDN forwarding /.well-known/acme-challenge/",
	})
}

func serverTests() []diagnoseTest {
	filtered := func(port string) func(w *world) {
		return func(w *world) {
			w.add("example.com", "A", "192.0.2.1")
			w.fail("192.0.2.1:"+port, errFiltered)
		}
	}
	const getCertificateCure = "let that server call TLSALPN01.GetCertificate first, or pass the connections on to this process"
	return []diagnoseTest{{
		name: "wrong virtual host", proof: overHTTP, cause: diagnose.CauseOtherServer,
		setUp: func(w *world) { w.site(respond(404, "", "Server", "Apache/2.4")) },
		want:  "port 80 of example.com at 192.0.2.1 is answered by another server or virtual host: it answers 404 Not Found (server: Apache/2.4): " + forwardCure,
	}, {
		name: "a page for every path", proof: overHTTP, cause: diagnose.CauseOtherServer,
		setUp: func(w *world) { w.site(respond(200, "<html>\x1b[31m it works")) },
		want: `port 80 of example.com at 192.0.2.1 is answered by another server or virtual host: it answers 200 OK with another text than ` +
			`the key authorization ("<html>\x1b[31m it works"): ` + forwardCure,
	}, {
		name: "port 80 closed", proof: overHTTP, cause: diagnose.CausePortClosed,
		setUp: func(w *world) { w.add("example.com", "A", "192.0.2.1") },
		want: "port 80 of example.com at 192.0.2.1 is closed: connections are refused: " +
			"let a server listen on port 80 of every address, or forward it to this process",
	}, {
		name: "port 80 filtered", proof: overHTTP, cause: diagnose.CausePortFiltered, setUp: filtered("80"),
		want: "port 80 of example.com at 192.0.2.1 does not answer within 10s, as behind a firewall that drops packets: " +
			"open port 80 to the whole Internet in the firewall, or forward it to this process",
	}, {
		name: "port 443 filtered", proof: overTLS, cause: diagnose.CausePortFiltered, setUp: filtered("443"),
		want: "port 443 of example.com at 192.0.2.1 does not answer within 10s, as behind a firewall that drops packets: " +
			"open port 443 to the whole Internet in the firewall, or forward it to this process",
	}, {
		name: "another protocol", proof: overHTTP, cause: diagnose.CauseBrokenServer,
		setUp: func(w *world) {
			w.add("example.com", "A", "192.0.2.1")
			w.put("192.0.2.1:80", solvertest.ServeRaw(w.t, "SSH-2.0-OpenSSH\r\n"))
		},
		want: `port 80 of example.com at 192.0.2.1 gives no answer that can be read: ` +
			`malformed HTTP response "SSH-2.0-OpenSSH": check whether this process is the server there, and read its log`,
	}, {
		name: "no ALPN", proof: overTLS, cause: diagnose.CauseNoALPN,
		setUp: func(w *world) {
			config := w.certificate("example.com")
			config.NextProtos = []string{"http/1.1"}
			w.tlsSite(config)
		},
		want: "the server on port 443 of example.com at 192.0.2.1 does not offer the protocol acme-tls/1: put solver.ALPNProto into its " +
			"tls.Config.NextProtos, use the TLSConfig of a certmanager.Manager, or use another challenge",
	}, {
		name: "another certificate", proof: overTLS, cause: diagnose.CauseOtherServer,
		setUp: func(w *world) { w.tlsSite(w.certificate("other.example")) },
		want: "port 443 of example.com at 192.0.2.1 is answered by another server: it shows another certificate than the challenge's " +
			"(for other.example): " + getCertificateCure,
	}, {
		name: "a handshake refused", proof: overTLS, cause: diagnose.CauseOtherServer,
		setUp: func(w *world) {
			config := w.certificate("example.com")
			config.Certificates = nil
			config.GetCertificate = new(solver.TLSALPN01).GetCertificate
			w.tlsSite(config)
		},
		want: "port 443 of example.com at 192.0.2.1 is answered by a server that refuses the handshake: remote error: tls: internal error: " + getCertificateCure,
	}}
}

// mixedTests have several addresses, each wrong in its own way or over one address family.
func mixedTests() []diagnoseTest {
	return []diagnoseTest{{
		name: "of two, the one that says more", proof: overHTTP, cause: diagnose.CauseOtherServer,
		setUp: func(w *world) {
			w.add("example.com", "A", "192.0.2.1")
			w.add("example.com", "AAAA", "2001:db8::1")
			w.put("[2001:db8::1]:80", solvertest.ServeHTTP(w.t, respond(403, "")))
		},
		want: "port 80 of example.com at 2001:db8::1 blocks the request, as firewalls and access rules do: it answers 403 Forbidden: " + passCure,
	}, {
		name: "of many, the front end", proof: overHTTP, cause: diagnose.CauseCDN,
		setUp: func(w *world) {
			w.site(redirect("/"))
			w.add("example.com", "A", "192.0.2.2")
			w.put("192.0.2.2:80", solvertest.ServeHTTP(w.t, respond(404, "", "Server", "cloudflare")))
			w.add("example.com", "A", "192.0.2.3")
			w.put("192.0.2.3:80", solvertest.ServeRaw(w.t, "SSH-2.0-OpenSSH\r\n"))
			w.add("example.com", "A", "127.0.0.1")
		},
		want: "example.com at 192.0.2.2 answers from Cloudflare (server: cloudflare), not from this process: " +
			"use DNS-01, or let the CDN forward /.well-known/acme-challenge/",
	}, {
		name: "a closed port at all addresses", proof: overTLS, cause: diagnose.CausePortClosed,
		setUp: func(w *world) {
			w.add("example.com", "A", "192.0.2.1")
			w.add("example.com", "A", "192.0.2.2")
		},
		want: "port 443 of example.com at 192.0.2.1 is closed: connections are refused: " +
			"let a server listen on port 443 of every address, or forward it to this process",
	}, {
		name: "a redirect to https, closed at one address", proof: overHTTP, cause: diagnose.CausePortClosed,
		setUp: func(w *world) {
			w.site(redirect("https://Example.COM/"))
			w.put("192.0.2.1:443", solvertest.ServeWithTLS(w.t, w.certificate("example.com"), respond(200, overHTTP.KeyAuthorization)))
			w.add("example.com", "A", "192.0.2.2")
			w.put("192.0.2.2:80", solvertest.ServeHTTP(w.t, redirect("https://Example.COM/")))
		},
		want: "port 443 of example.com at 192.0.2.2 is closed: connections are refused, while 192.0.2.1 answers right: " +
			"let a server listen on port 443 of every address, or forward it to this process",
	}, {
		name: "no ALPN over IPv6", proof: overTLS, cause: diagnose.CauseAddressMismatch,
		setUp: func(w *world) {
			w.tlsSite(w.challengeTLS())
			w.add("example.com", "AAAA", "2001:db8::1")
			config := w.certificate("example.com")
			config.NextProtos = []string{"http/1.1"}
			w.put("[2001:db8::1]:443", solvertest.ServeWithTLS(w.t, config, http.NotFoundHandler()))
		},
		want: "example.com leads elsewhere over IPv6: 2001:db8::1 (AAAA) does not offer the protocol acme-tls/1, while 192.0.2.1 (A) answers right: " + aaaaCure,
	}, {
		name: "loopback over IPv6", proof: overHTTP, cause: diagnose.CauseAddressMismatch,
		setUp: func(w *world) {
			w.site(w.answering())
			w.add("example.com", "AAAA", "::1")
		},
		want: "example.com leads elsewhere over IPv6: ::1 (AAAA) is a loopback address, while 192.0.2.1 (A) answers right: " + aaaaCure,
	}, {
		name: "another certificate over IPv4", proof: overTLS, cause: diagnose.CauseAddressMismatch,
		setUp: func(w *world) {
			w.tlsSite(w.certificate("example.com"))
			w.add("example.com", "AAAA", "2001:db8::1")
			w.put("[2001:db8::1]:443", solvertest.ServeWithTLS(w.t, w.challengeTLS(), http.NotFoundHandler()))
		},
		want: "example.com leads elsewhere over IPv4: 192.0.2.1 (A) shows another certificate than the challenge's (for example.com), " +
			"while 2001:db8::1 (AAAA) answers right: set the A record to this server's address, or remove it",
	}, {
		name: "an address of this machine", proof: solvertest.NewProof(acme.TypeHTTP01, "127.0.0.1"), cause: diagnose.CausePrivateAddress, setUp: func(*world) {},
		want: "127.0.0.1 is a loopback address, which no CA on the Internet reaches: use a CA of that network, and say so by Vantage.Private",
	}}
}

func redirectTests() []diagnoseTest {
	site := func(handler http.Handler) func(w *world) { return func(w *world) { w.site(handler) } }
	// An elsewhere has www.example.com, to which all is redirected, at an address of its own.
	elsewhere := func(target string, handler http.Handler) func(w *world) {
		return func(w *world) {
			w.site(redirect(target))
			w.add("www.example.com", "A", "192.0.2.9")
			w.put("192.0.2.9:80", solvertest.ServeHTTP(w.t, handler))
		}
	}
	const followCure = exemptCure + ", or redirect to where CAs follow"
	const otherCure = exemptCure + ", or let that host answer the challenges too"
	challenge := "http://example.com/.well-known/acme-challenge/" + solvertest.Token
	tests := []diagnoseTest{{
		name: "redirect to itself", cause: diagnose.CauseRedirectLoop, setUp: site(redirect("/")),
		want: "example.com redirects in a loop, from http://example.com/ to itself: " + exemptCure,
	}, {
		name: "redirect loop", cause: diagnose.CauseRedirectLoop,
		setUp: site(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, map[bool]string{true: "/b", false: "/a"}[r.URL.Path == "/a"], http.StatusFound)
		})),
		want: "example.com redirects in a loop, from http://example.com/a to http://example.com/b and back: " + exemptCure,
	}, {
		name: "redirect from https back to http, at Cloudflare", cause: diagnose.CauseRedirectLoop,
		setUp: func(w *world) {
			w.site(respond(301, "", "Location", "https://example.com/.well-known/acme-challenge/"+solvertest.Token, "Server", "cloudflare"))
			w.put("192.0.2.1:443", solvertest.ServeWithTLS(w.t, w.certificate("example.com"), redirect(challenge)))
		},
		want: "example.com redirects in a loop, from " + challenge + " to https://example.com/.well-known/acme-challenge/" + solvertest.Token + " and back: " +
			"Cloudflare (server: cloudflare) and the server behind it disagree on https: " + exemptCure + flexibleCure,
	}, {
		name: "eleven redirects", cause: diagnose.CauseRedirectLoop,
		setUp: site(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path+"x", http.StatusFound)
		})),
		want: "example.com redirects more than 10 times, at last to /.well-known/acme-challenge/" + solvertest.Token + "xxxxxxxxxxx: " + exemptCure,
	}, {
		name: "redirect to another host", cause: diagnose.CauseRedirect,
		setUp: elsewhere("http://www.example.com/", respond(404, "", "Server", "nginx")),
		want:  "example.com redirects to another host, www.example.com, which answers 404 Not Found (server: nginx): " + otherCure,
	}, {
		name: "redirect to another host with port 443 closed", cause: diagnose.CauseRedirect,
		setUp: elsewhere("https://www.example.com/", nil),
		want:  "example.com redirects to another host, www.example.com, which refuses connections to port 443: " + otherCure,
	}, {
		name: "redirect to another host of another protocol", cause: diagnose.CauseRedirect,
		setUp: func(w *world) {
			elsewhere("http://www.example.com/", nil)(w)
			w.put("192.0.2.9:80", solvertest.ServeRaw(w.t, "hello\r\n"))
		},
		want: `example.com redirects to another host, www.example.com, which gives no answer that can be read (malformed HTTP response "hello"): ` + otherCure,
	}, {
		name: "redirect to a host that does not exist", cause: diagnose.CauseRedirect,
		setUp: site(redirect("https://old.example.com/")),
		want:  "example.com redirects to old.example.com, which does not resolve: " + exemptCure + ", or give that host an address",
	}, {
		name: "redirect to https, where nothing listens", cause: diagnose.CausePortClosed,
		setUp: site(redirect("https://example.com/")),
		want: "port 443 of example.com at 192.0.2.1 is closed: connections are refused: " +
			"let a server listen on port 443 of every address, or forward it to this process",
	}, {
		name: "redirect by 303", cause: diagnose.CauseRedirect, setUp: site(respond(303, "", "Location", "/")),
		want: "example.com answers with a redirect by 303 See Other, which CAs do not follow: " + followCure,
	}, {
		name: "redirect to a private network", cause: diagnose.CauseRedirect, setUp: site(redirect("http://10.0.0.5/")),
		want: "example.com answers with a redirect to 10.0.0.5, a private address, from a public address, which is not followed: " + followCure,
	}, {
		name: "redirect without a slash", cause: diagnose.CauseRedirect, setUp: site(redirect("https://www.example.com.well-known/acme-challenge/x")),
		want: `example.com answers with a redirect to the host "www.example.com.well-known": a slash is missing after the host: ` + followCure,
	}}
	return withProof(tests, overHTTP)
}

// withProof sets the proof of those tests that have none.
func withProof(tests []diagnoseTest, p acme.Proof) []diagnoseTest {
	for i := range tests {
		if tests[i].proof.Type == "" {
			tests[i].proof = p
		}
	}
	return tests
}
