package diagnose_test

import (
	"compress/gzip"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/diagnose"
	"github.com/everseal/everseal/solver/internal/solvertest"
	"github.com/everseal/everseal/storage/storagetest"
)

const (
	port80       = "port 80 of example.com at 192.0.2.1"
	passCure     = "let firewalls and access rules pass requests for /.well-known/acme-challenge/ from every address"
	healthCure   = "find out why its health check fails, which must not need the certificate that is yet to come"
	flexibleCure = ", or set Cloudflare's SSL/TLS encryption mode to Full (strict): in the mode Flexible it asks a server by http that then redirects to https again"
	oldCure      = "wait until its time to live has passed before the next try; if the CA asks there again, let every name server answer all askers alike"
)

// page is a page of a server, as it was seen in the open.
func page(status int, body string, headers ...string) func(w *world) {
	return func(w *world) { w.site(respond(status, body, headers...)) }
}

// guardTests have something in front of the server that has the answer.
func guardTests() []diagnoseTest {
	const nginx403 = "<html>\r\n<head><title>403 Forbidden</title></head>\r\n<body>\r\n<center><h1>403 Forbidden</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
	const nginx503 = "<html>\r\n<head><title>503 Service Temporarily Unavailable</title></head>\r\n<body>\r\n<center><h1>503 Service Temporarily Unavailable</h1></center>\r\n"
	const paloAlto = "<html>\n<head>\n<title>Web Page Blocked</title>\n<meta content=\"text/html; charset=utf-8\" http-equiv=\"Content-Type\"/>\n"
	const fortinet = "<!DOCTYPE html>\n<html lang=\"en\"><head><title>FortiGuard Intrusion Prevention - Access Blocked</title>"
	const f5 = "<html><head><title>Request Rejected</title></head><body>The requested URL was rejected. Please consult with your administrator.<br><br>Your support ID is: 1"
	const blocks = port80 + " blocks the request, as firewalls and access rules do: it answers "
	const unhealthy = "what answers at " + port80 + " is a load balancer without a healthy target, or a server that is not ready: it answers "
	tests := []diagnoseTest{{
		name: "basic authentication", setUp: page(401, "", "Server", "nginx/1.26.0", "Www-Authenticate", `Basic realm="Restricted"`),
		want: port80 + " asks for a password: it answers 401 Unauthorized (server: nginx/1.26.0): exempt /.well-known/acme-challenge/ from authentication",
	}, {
		name: "a directory that is denied", setUp: page(403, nginx403, "Server", "nginx"),
		want: blocks + "403 Forbidden (server: nginx): " + passCure,
	}, {
		name: "ModSecurity", setUp: page(406, "<head><title>Not Acceptable!</title></head>", "Server", "Apache"),
		want: blocks + "406 Not Acceptable (server: Apache): " + passCure,
	}, {
		name: "a page of Palo Alto Networks", setUp: page(503, paloAlto),
		want: blocks + "503 Service Unavailable: " + passCure,
	}, {
		name: "a page of Fortinet", setUp: page(200, fortinet),
		want: blocks + `200 OK with another text than the key authorization ("<!DOCTYPE html>\n<html lang="en"><head><…"): ` + passCure,
	}, {
		name: "a page of F5", setUp: page(200, f5),
		want: blocks + `200 OK with another text than the key authorization ("<html><head><title>Request Rejected</tit…"): ` + passCure,
	}, {
		name: "a portal", setUp: page(511, "<html><head><meta http-equiv=\"refresh\" content=\"0; url=https://login.example.net/\">"),
		want: "what answers at " + port80 + " is the portal of a network that wants a log-in first: it answers 511 Network Authentication Required: " +
			"let that network pass connections to the server without a log-in",
	}, {
		name: "nginx without an upstream", setUp: page(503, nginx503, "Server", "nginx"),
		want: unhealthy + "503 Service Unavailable (server: nginx): " + healthCure,
	}, {
		name: "HAProxy without a server", setUp: page(503, "<html><body><h1>503 Service Unavailable</h1>\nNo server is available to handle this request.\n</body></html>\n"),
		want: unhealthy + "503 Service Unavailable: " + healthCure,
	}, {
		name: "a gateway", setUp: page(502, "", "Server", "nginx"),
		want: unhealthy + "502 Bad Gateway (server: nginx): " + healthCure,
	}, {
		name: "HTTP01 without its storage", setUp: func(w *world) {
			store := new(storagetest.Faulty)
			store.SetFaults(storagetest.Fault{On: storagetest.Load})
			broken := &solver.HTTP01{Storage: store}
			w.site(broken.Handler(nil))
		},
		want: port80 + " cannot read the storage that its answers are in: it answers 503 Service Unavailable: read its log, and check what it reads its storage from",
	}}
	for i := range tests {
		tests[i].cause = diagnose.CauseOtherServer
	}
	return withProof(append(tests, diagnoseTest{
		name: "a load balancer of AWS without a target", cause: diagnose.CauseCDN, setUp: page(503, nginx503, "Server", "awselb/2.0"),
		want: "example.com answers from the load balancer of AWS (server: awselb/2.0), which reaches no healthy server behind it: 503 Service Unavailable: " +
			"use DNS-01, or " + healthCure,
	}, diagnoseTest{
		name: "a load balancer of AWS that knows no rule", cause: diagnose.CauseCDN, setUp: page(404, "", "Server", "awselb/2.0"),
		want: "example.com answers from the load balancer of AWS (server: awselb/2.0), not from this process: " +
			"use DNS-01, or let the load balancer forward /.well-known/acme-challenge/",
	}, diagnoseTest{
		name: "a firewall at Cloudflare", cause: diagnose.CauseCDN, setUp: page(403, "", "Server", "cloudflare", "Cf-Ray", "8f1-FRA"),
		want: "example.com answers from Cloudflare (server: cloudflare); it, or the server behind it, blocks the request, as firewalls and access rules do: 403 Forbidden: " +
			"use DNS-01, or " + passCure,
	}), overHTTP)
}

// wrappedTests have the answer, and more.
func wrappedTests() []diagnoseTest {
	right := overHTTP.KeyAuthorization
	const cure = ": let it answer with the key authorization alone, without a byte-order mark, quotes or HTML"
	tests := []diagnoseTest{
		{name: "a byte-order mark", setUp: page(200, "\ufeff"+right), want: `but with "\ufeff" before it`},
		{name: "quotes", setUp: page(200, `"`+right+`"`), want: `but with """ before it and """ after it`},
		{name: "HTML", setUp: page(200, "<html><body>"+right+"</body></html>\n"), want: `but with "<html><body>" before it and "</body></html>\n" after it`},
		{name: "a line before", setUp: page(200, "\n"+right+"\n"), want: `but with "\n" before it`},
		{name: "a script of Cloudflare's after", setUp: page(200, right+"<script>(function(){</script>", "Server", "cloudflare"), want: `but with "<script>(function(){</script>" after it`},
	}
	for i := range tests {
		tests[i].cause, tests[i].want = diagnose.CauseBrokenServer, "example.com answers with the key authorization, "+tests[i].want+cure
	}
	return withProof(tests, overHTTP)
}

// originTests have a content delivery network that asks the server behind it in a way that cannot go well.
func originTests() []diagnoseTest {
	const challenge = "example.com/.well-known/acme-challenge/" + solvertest.Token
	// loop has everything redirected to https, by a server that is asked by http for all.
	loop := func(headers ...string) func(w *world) {
		return func(w *world) {
			again := respond(301, "", append([]string{"Location", "https://" + challenge}, headers...)...)
			w.site(again)
			w.put("192.0.2.1:443", solvertest.ServeWithTLS(w.t, w.certificate("example.com"), again))
		}
	}
	const around = "example.com redirects in a loop, from https://" + challenge + " to itself: "
	const modeCure = "use DNS-01, or exempt /.well-known/acme-challenge/ from redirects to https, or set the mode from Full (strict) to Full and let that server show any certificate until it has its own"
	return withProof([]diagnoseTest{{
		name: "Cloudflare in the mode Flexible", cause: diagnose.CauseRedirectLoop, setUp: loop("Server", "cloudflare", "Cf-Ray", "8f1-FRA"),
		want: around + "Cloudflare (server: cloudflare) and the server behind it disagree on https: " + exemptCure + flexibleCure,
	}, {
		name: "CloudFront by HTTP only", cause: diagnose.CauseRedirectLoop, setUp: loop("X-Amz-Cf-Id", "1f"),
		want: around + "CloudFront (x-amz-cf-id: 1f) and the server behind it disagree on https: " + exemptCure +
			", or set the origin protocol policy of CloudFront to HTTPS only: with HTTP only it asks a server by http that then redirects to https again",
	}, {
		name: "a proxy that ends TLS", cause: diagnose.CauseRedirectLoop, setUp: loop("Via", "1.1 proxy"),
		want: around + "a proxy (via: 1.1 proxy) and the server behind it disagree on https: " + exemptCure +
			", or have the proxy ask the server behind it by https: one asked by http redirects to https again",
	}, {
		name: "Cloudflare and an expired certificate", cause: diagnose.CauseCDN,
		setUp: func(w *world) {
			w.site(respond(301, "", "Location", "https://"+challenge, "Server", "cloudflare"))
			w.put("192.0.2.1:443", solvertest.ServeWithTLS(w.t, w.certificate("example.com"), respond(526, "error code: 526", "Server", "cloudflare")))
		},
		want: "example.com answers from Cloudflare (server: cloudflare), which does not take the certificate of the server behind it, " +
			"as its SSL/TLS encryption mode demands: 526 status code 526: " + modeCure,
	}, {
		name: "Cloudflare and no certificate", cause: diagnose.CauseCDN, setUp: page(525, "error code: 525", "Server", "cloudflare"),
		want: "example.com answers from Cloudflare (server: cloudflare), which does not take the certificate of the server behind it, " +
			"as its SSL/TLS encryption mode demands: 525 status code 525: " + modeCure,
	}, {
		name: "Cloudflare and a server that is down", cause: diagnose.CauseCDN, setUp: page(521, "error code: 521", "Server", "cloudflare"),
		want: "example.com answers from Cloudflare (server: cloudflare), which does not reach the server behind it: 521 status code 521: " +
			"use DNS-01, or check whether that server listens, and lets Cloudflare's addresses in",
	}}, overHTTP)
}

// askingClients is a TLS configuration that has the answer, for those with a client certificate alone.
func (w *world) askingClients(version uint16) *tls.Config {
	config := w.challengeTLS()
	config.ClientAuth, config.MaxVersion = tls.RequireAnyClientCert, version
	return config
}

func clientCertificateTests() []diagnoseTest {
	const port443 = "port 443 of example.com at 192.0.2.1"
	const turnsAway = port443 + " turns CAs away: it asks for a client certificate, which no CA has"
	const withoutCure = "answer acme-tls/1 without ClientAuth: let GetConfigForClient return a tls.Config without it if solver.IsChallenge"
	const httpsCure = "exempt /.well-known/acme-challenge/ from redirects to https, or let that server answer there without client certificates"
	// behind has http redirected to https, where a server asks for client certificates.
	behind := func(auth tls.ClientAuthType, handler http.Handler) func(w *world) {
		return func(w *world) {
			w.site(redirect("https://example.com/"))
			config := w.certificate("example.com")
			config.ClientAuth = auth
			w.put("192.0.2.1:443", solvertest.ServeWithTLS(w.t, config, handler))
		}
	}
	tests := []diagnoseTest{{
		name: "client certificates and tls-alpn-01", proof: overTLS, setUp: func(w *world) { w.tlsSite(w.askingClients(tls.VersionTLS12)) },
		want: turnsAway + ": remote error: tls: handshake failure: " + withoutCure,
	}, {
		name: "client certificates of TLS 1.3 that the CA complains of", proof: overTLS, setUp: func(w *world) { w.tlsSite(w.askingClients(tls.VersionTLS13)) },
		failure: refusal(acme.ErrTLS, "192.0.2.1: remote error: tls: certificate required"),
		want: "the server on " + port443 + " asks for a client certificate, which the CA has none of (its words: 192.0.2.1: remote error: tls: certificate required): " +
			withoutCure,
	}, {
		name: "client certificates behind a redirect to https", proof: overHTTP, setUp: behind(tls.RequireAnyClientCert, http.NotFoundHandler()),
		want: turnsAway + ": remote error: tls: certificate required: " + httpsCure,
	}, {
		name: "nginx that wants a client certificate", proof: overHTTP,
		setUp: behind(tls.RequestClientCert, respond(400, "<html>\r\n<head><title>400 No required SSL certificate was sent</title></head>\r\n", "Server", "nginx")),
		want:  turnsAway + `, and answers "400 Bad Request" without one: ` + httpsCure,
	}}
	for i := range tests {
		tests[i].cause = diagnose.CauseClientCertificate
	}
	return append(tests, diagnoseTest{
		name: "client certificates that nobody needs", proof: overHTTP, cause: diagnose.CauseOtherServer,
		setUp: behind(tls.RequestClientCert, http.NotFoundHandler()),
		want:  port443 + " is answered by another server or virtual host: it answers 404 Not Found: " + forwardCure,
	}, diagnoseTest{
		name: "a redirect to https, where no certificate is", proof: overHTTP, cause: diagnose.CauseOtherServer,
		setUp: func(w *world) {
			w.site(redirect("https://example.com/"))
			none := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("none") }
			w.put("192.0.2.1:443", solvertest.ServeWithTLS(w.t, &tls.Config{GetCertificate: none}, http.NotFoundHandler()))
		},
		want: port443 + " is answered by a server that refuses the handshake: remote error: tls: internal error: " +
			"exempt /.well-known/acme-challenge/ from redirects to https, or let that server take a handshake for the name with any certificate",
	})
}

// By TLS 1.3 a CA has seen the answer before it is turned away: that alone is no cause. Neither is an answer
// that is compressed, or has long headers, which a CA's transport takes.
func TestDiagnoseNoFalseCause(t *testing.T) {
	compressed := func(asked bool) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if asked && !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
				http.Error(w, "nobody asks so", http.StatusNotAcceptable)
				return
			}
			w.Header().Set("Content-Encoding", "gzip")
			encoder := gzip.NewWriter(w)
			fmt.Fprintln(encoder, overHTTP.KeyAuthorization)
			encoder.Close()
		})
	}
	for _, test := range []rightTest{
		{"client certificates by TLS 1.3", overTLS, func(w *world) { w.tlsSite(w.askingClients(tls.VersionTLS13)) }},
		{"a compressed answer", overHTTP, func(w *world) { w.site(compressed(false)) }},
		{"a compressed answer to who can read it", overHTTP, func(w *world) { w.site(compressed(true)) }},
		{"20 KiB of headers", overHTTP, func(w *world) {
			w.site(respond(200, overHTTP.KeyAuthorization, "Content-Security-Policy", strings.Repeat("x", 20<<10)))
		}},
		{"255 KiB of headers", overHTTP, func(w *world) {
			w.site(respond(200, overHTTP.KeyAuthorization, "Content-Security-Policy", strings.Repeat("x", 255<<10)))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			test.setUp(w)
			requireNoCause(t, w.diagnose(test.proof, nil), true)
		})
	}
}

// What claims to be compressed and is not, or is much more than it seems, is no answer and does no harm.
func TestDiagnoseBrokenCompression(t *testing.T) {
	var bomb strings.Builder
	encoder := gzip.NewWriter(&bomb)
	fmt.Fprint(encoder, strings.Repeat("x", 10<<20))
	encoder.Close()
	for body, cause := range map[string]diagnose.Cause{
		overHTTP.KeyAuthorization: diagnose.CauseBrokenServer,
		bomb.String():             diagnose.CauseOtherServer,
		"":                        diagnose.CauseOtherServer,
	} {
		w := newWorld(t)
		w.site(respond(200, body, "Content-Encoding", "gzip"))
		d := w.diagnose(overHTTP, nil)
		if d.Cause != cause || d.Seen {
			t.Errorf("%d bytes: %q, %s; want %q", len(body), d.Cause, d, cause)
		}
		requireBounded(t, d)
	}
}

// Visible tells of client certificates too.
func TestVisibleOfAServerThatAsksForClientCertificates(t *testing.T) {
	w := newWorld(t)
	solvertest.Present(t, w.tlsALPN01, overTLS)
	from := diagnose.Vantage{Dial: solvertest.DialTo(solvertest.ServeWithTLS(t, w.askingClients(tls.VersionTLS12), http.NotFoundHandler()))}
	err := diagnose.Visible(t.Context(), overTLS, from)
	if err == nil || !strings.Contains(err.Error(), "it asks for a client certificate, which no CA has") {
		t.Errorf("the error is %v", err)
	}
}
