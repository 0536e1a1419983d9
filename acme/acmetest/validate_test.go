package acmetest_test

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme/acmetest"
)

// validate orders a certificate, lets answer publish something for the challenge, accepts it, and
// returns the challenge after its validation; it checks that authorization and order follow it.
func (n *network) validate(c *client, name, challengeType string, answer func(id identifier, keyAuthorization string)) challenge {
	c.t.Helper()
	o := c.newOrder(name)
	a := c.authorization(o.Authorizations[0])
	pending := a.challenge(c.t, challengeType)
	answer(a.Identifier, c.keyAuthorization(pending.Token))

	accepted := c.post(pending.URL, map[string]any{}).want(http.StatusOK, "")
	var got challenge
	if accepted.decode(&got); got.Status != "processing" || got.URL != pending.URL {
		c.t.Errorf("challenge %+v after it was accepted", got)
	}
	if link := "<" + o.Authorizations[0] + `>;rel="up"`; !slices.Contains(accepted.header.Values("Link"), link) {
		c.t.Errorf("Link %q of a challenge, want %s", accepted.header.Values("Link"), link)
	}
	time.Sleep(time.Minute) // until the validation has ended or given up

	c.post(pending.URL, nil).want(http.StatusOK, "").decode(&got)
	a, o = c.authorization(o.Authorizations[0]), c.getOrder(o.URL)
	want := map[string]string{"valid": "ready", "invalid": "invalid"}[got.Status]
	if a.Status != got.Status || o.Status != want || len(a.Challenges) != 1 || a.Challenges[0].URL != got.URL {
		c.t.Errorf("challenge %+v\nof %+v\nof %+v", got, a, o)
	}
	if got.Status == "valid" {
		c.post(pending.URL, map[string]any{}).want(http.StatusOK, "") // once more is no harm
		return got
	}
	c.post(pending.URL, map[string]any{}).want(http.StatusBadRequest, "malformed")
	if got.Error == nil || o.Error == nil || len(o.Error.Subproblems) != 1 {
		c.t.Fatalf("challenge %+v\nof %+v", got, o)
	}
	sub := o.Error.Subproblems[0]
	if o.Error.Type != got.Error.Type || sub.Type != got.Error.Type || sub.Detail != got.Error.Detail || sub.Identifier != o.Identifiers[0] {
		c.t.Errorf("the order's error is %+v, the challenge's %+v", *o.Error, *got.Error)
	}
	return got
}

// wantProblem checks the outcome of a validation; without a type it must have succeeded.
func (got challenge) wantProblem(t *testing.T, problemType, detail string) {
	t.Helper()
	if problemType == "" {
		if got.Status != "valid" || got.Error != nil {
			t.Errorf("challenge %+v, want it valid (%+v)", got, got.Error)
		}
		return
	}
	if got.Status != "invalid" || got.Error == nil {
		t.Fatalf("challenge %+v, want it invalid", got)
	}
	if got.Error.kind() != problemType || !strings.Contains(got.Error.Detail, detail) {
		t.Errorf("problem %+v, want type %s with %q in its detail", *got.Error, problemType, detail)
	}
	if len(got.Error.Detail) > 1000 {
		t.Errorf("the problem's detail has %d bytes", len(got.Error.Detail))
	}
}

// An http01Test is what a web server does, and what a validation makes of it.
type http01Test struct {
	name, host   string
	answer       func(n *network, keyAuthorization string)
	want, detail string
}

func (test http01Test) run(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		ca := n.newCA(t, nil)
		ca.SetHost("*", "") // so that missing.test does not resolve
		ca.SetHost("example.com", "192.0.2.1")
		ca.SetHost("other.test", "192.0.2.2")
		ca.SetHost("unreachable.test", "192.0.2.99")
		ca.SetHost("broken.test", "not-an-address")
		got := n.validate(newAccount(t, ca), test.host, "http-01", func(_ identifier, keyAuthorization string) { test.answer(n, keyAuthorization) })
		got.wantProblem(t, test.want, test.detail)
	})
}

func TestHTTP01(t *testing.T) {
	body := func(format string) func(*network, string) {
		return func(n *network, keyAuthorization string) {
			n.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, format, keyAuthorization) })
		}
	}
	for _, test := range []http01Test{
		{"right", "example.com", body("%s"), "", ""},
		{"right, IPv4", "192.0.2.7", body("%s"), "", ""},
		{"right, IPv6", "2001:db8::7", body("%s"), "", ""},
		{"white space after it", "example.com", body("%s \t\r\n\r\n"), "", ""},
		{"white space before it", "example.com", body(" %s"), "incorrectResponse", `" `},
		{"something after it", "example.com", body("%s."), "incorrectResponse", ""},
		{"something long after it", "example.com", body("%s" + strings.Repeat(" ", 300) + "x"), "incorrectResponse", ""},
		{"another", "example.com", body("<html>\x1b %.3s"), "incorrectResponse", `<html>\x1b `},
		{"much", "example.com", body("%.0s" + strings.Repeat("much ", 1<<20)), "incorrectResponse", "much"},
		{"nothing", "example.com", body("%.0s"), "incorrectResponse", `""`},
		{"not found", "example.com", func(*network, string) {}, "unauthorized", "404"},
		{"a status of success that is not 200", "example.com", func(n *network, keyAuthorization string) {
			n.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(http.StatusCreated)
				fmt.Fprint(w, keyAuthorization)
			})
		}, "unauthorized", "201"},
		{"no name", "missing.test", body("%s"), "dns", "missing.test"},
		{"an address that is none", "broken.test", body("%s"), "dns", "not-an-address"},
		{"no server", "unreachable.test", body("%s"), "connection", "connection refused"},
		{"nothing but silence", "example.com", func(n *network, _ string) {
			n.handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		}, "connection", "deadline"},
		{"an answer that breaks off", "example.com", func(n *network, _ string) {
			n.handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "40") })
		}, "connection", "EOF"},
	} {
		t.Run(test.name, test.run)
	}
}

func TestHTTP01Redirects(t *testing.T) {
	// redirect answers the first requests with the status and target.
	redirect := func(times, status int, target string) func(*network, string) {
		return func(n *network, keyAuthorization string) {
			count := 0
			n.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if count++; count > times {
					fmt.Fprint(w, keyAuthorization)
					return
				}
				w.Header().Set("Location", target)
				w.WriteHeader(status)
			})
		}
	}
	for _, test := range []http01Test{
		{"redirected", "example.com", redirect(1, 301, "http://other.test/there"), "", ""},
		{"redirected to a path", "example.com", redirect(2, 302, "/there"), "", ""},
		{"redirected to the port", "example.com", redirect(1, 307, "http://other.test:80/"), "", ""},
		{"redirected ten times", "example.com", redirect(10, 308, "/"), "", ""},
		{"redirected eleven times", "example.com", redirect(11, 308, "/"), "connection", "too many"},
		{"redirected with 303", "example.com", redirect(1, 303, "/"), "connection", "303"},
		{"redirected to another port", "example.com", redirect(1, 301, "http://example.com:8080/"), "connection", "must be 80 or 443"},
		{"redirected to another scheme", "example.com", redirect(1, 301, "ftp://example.com/"), "connection", "scheme"},
		{"redirected to no name", "example.com", redirect(1, 301, "http://missing.test/"), "dns", "missing.test"},
		{"redirected to HTTPS", "example.com", redirect(1, 301, "https://other.test/"), "", ""},
		{"redirected to HTTPS twice", "example.com", redirect(2, 301, "https://other.test:443/"), "", ""},
		{"redirected to HTTPS without a certificate", "example.com", func(n *network, keyAuthorization string) {
			redirect(1, 301, "https://example.com/")(n, keyAuthorization)
			n.alpn.names = []string{"ü"} // which cannot be had
		}, "tls", "internal error"},
	} {
		t.Run(test.name, test.run)
	}
}

// What the web server gets is what RFC 8555 §8.3 says, with the port in it unless it is 80.
func TestHTTP01Request(t *testing.T) {
	for _, test := range []struct {
		name, host string
		port       int
		want       string
	}{
		{"example.com", "192.0.2.1", 0, "example.com"},
		{"example.com", "192.0.2.1:80", 5002, "example.com:5002"},
		{"2001:db8::1", "192.0.2.1", 0, "[2001:db8::1]"},
		{"2001:db8::1", "192.0.2.1:80", 5002, "[2001:db8::1]:5002"},
	} {
		t.Run(fmt.Sprint(test.name, test.port), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				ca := n.newCA(t, func(ca *acmetest.Server) { ca.HTTPPort = test.port })
				ca.SetHost(test.name, test.host)
				var path string
				n.validate(newAccount(t, ca), test.name, "http-01", func(id identifier, keyAuthorization string) {
					n.present(id, "http-01", keyAuthorization)
					token, _, _ := strings.Cut(keyAuthorization, ".")
					path = "/.well-known/acme-challenge/" + token
				}).wantProblem(t, "", "")
				if len(n.requests) != 1 {
					t.Fatalf("%d requests", len(n.requests))
				}
				if r := n.requests[0]; r.Host != test.want || r.URL.Path != path || r.Method != http.MethodGet || r.UserAgent() == "" {
					t.Errorf("%s %s with Host %s, want GET %s with %s", r.Method, r.URL, r.Host, path, test.want)
				}
			})
		})
	}
}

func TestTLSALPN01(t *testing.T) {
	withExtension := func(change func(*pkix.Extension)) func(*alpnCertificate) {
		return func(c *alpnCertificate) { change(&c.extensions[0]) }
	}
	otherName := pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: []byte{0x30, 0x00}}
	for _, test := range []struct {
		name, host   string
		change       func(*alpnCertificate)
		want, detail string
	}{
		{"right", "example.com", func(*alpnCertificate) {}, "", ""},
		{"right, IPv4", "192.0.2.7", func(*alpnCertificate) {}, "", ""},
		{"right, IPv6", "2001:db8::7", func(*alpnCertificate) {}, "", ""},
		{"another name", "example.com", func(c *alpnCertificate) { c.names[0] = "example.org" }, "incorrectResponse", "example.org"},
		{"a second name", "example.com", func(c *alpnCertificate) { c.names = append(c.names, "example.org") }, "incorrectResponse", "only name"},
		{"an address more", "example.com", func(c *alpnCertificate) { c.addresses = []net.IP{{192, 0, 2, 7}} }, "incorrectResponse", "only name"},
		{"no name", "example.com", func(c *alpnCertificate) { c.names = nil }, "incorrectResponse", "only name"},
		{"no names in the extension", "example.com", func(c *alpnCertificate) { c.names, c.extensions = nil, append(c.extensions, otherName) }, "incorrectResponse", "only name"},
		{"the name of an address", "192.0.2.7", func(c *alpnCertificate) { c.names, c.addresses = []string{"192.0.2.7"}, nil }, "incorrectResponse", "only name"},
		{"another address", "192.0.2.7", func(c *alpnCertificate) { c.addresses[0] = net.IP{192, 0, 2, 8} }, "incorrectResponse", "192.0.2.8"},
		{"no acmeIdentifier", "example.com", func(c *alpnCertificate) { c.extensions = nil }, "incorrectResponse", "no acmeIdentifier"},
		{"not critical", "example.com", withExtension(func(e *pkix.Extension) { e.Critical = false }), "incorrectResponse", "not critical"},
		{"another hash", "example.com", withExtension(func(e *pkix.Extension) { e.Value[33] ^= 1 }), "incorrectResponse", "instead of"},
		{"the hash alone", "example.com", withExtension(func(e *pkix.Extension) { e.Value = e.Value[2:] }), "incorrectResponse", "instead of"},
		{"something after the hash", "example.com", withExtension(func(e *pkix.Extension) { e.Value = append(e.Value, 0) }), "incorrectResponse", "instead of"},
		{"an older extension", "example.com", withExtension(func(e *pkix.Extension) { e.Id = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 30, 1} }), "incorrectResponse", "no acmeIdentifier"},
		{"not self-signed", "example.com", func(c *alpnCertificate) { c.issued = true }, "incorrectResponse", "self-signed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				ca := n.newCA(t, nil)
				n.validate(newAccount(t, ca), test.host, "tls-alpn-01", func(id identifier, keyAuthorization string) {
					n.present(id, "tls-alpn-01", keyAuthorization)
					test.change(&n.alpn)
				}).wantProblem(t, test.want, test.detail)
			})
		})
	}
}

func TestTLSALPN01Connection(t *testing.T) {
	for _, test := range []struct {
		name, host   string
		change       func(n *network)
		want, detail string
		serverName   string
	}{
		{"name", "example.com", func(*network) {}, "", "", "example.com"},
		{"IPv4", "192.0.2.7", func(*network) {}, "", "", "7.2.0.192.in-addr.arpa"},
		{"IPv6", "2001:db8::7", func(*network) {}, "", "", "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"},
		{"no protocols", "example.com", func(n *network) { n.noALPN = true }, "unauthorized", `""`, "example.com"},
		{"no such name", "missing.test", func(*network) {}, "dns", "missing.test", ""},
		{"no server", "192.0.2.99", func(*network) {}, "connection", "connection refused", ""},
		{"no TLS", "example.com", func(n *network) { n.ca.SetHost("example.com", "192.0.2.1:80") }, "tls", "handshake", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				ca := n.newCA(t, nil)
				ca.SetHost("*", "")
				ca.SetHost("example.com", "192.0.2.1")
				test.change(n)
				n.validate(newAccount(t, ca), test.host, "tls-alpn-01", func(id identifier, keyAuthorization string) {
					n.present(id, "tls-alpn-01", keyAuthorization)
				}).wantProblem(t, test.want, test.detail)
				if test.serverName == "" {
					return
				}
				if n.hello == nil || n.hello.ServerName != test.serverName || !slices.Equal(n.hello.SupportedProtos, []string{"acme-tls/1"}) {
					t.Errorf("hello %+v, want the name %s and the protocol acme-tls/1", n.hello, test.serverName)
				}
			})
		})
	}
}

func TestDNS01(t *testing.T) {
	for _, test := range []struct {
		name, host, want, detail string
		answer                   func(n *network, id identifier, keyAuthorization string)
	}{
		{"right", "example.com", "", "", func(n *network, id identifier, keyAuthorization string) {
			n.present(id, "dns-01", keyAuthorization)
		}},
		{"right, wildcard", "*.example.com", "", "", func(n *network, id identifier, keyAuthorization string) {
			n.present(id, "dns-01", keyAuthorization)
		}},
		{"among others", "example.com", "", "", func(n *network, id identifier, keyAuthorization string) {
			n.present(id, "dns-01", keyAuthorization)
			n.ca.SetTXT("_ACME-challenge.example.com", "other", digest(keyAuthorization))
		}},
		{"another", "example.com", "incorrectResponse", `other`, func(n *network, _ identifier, _ string) {
			n.ca.SetTXT("_acme-challenge.example.com", "other")
		}},
		{"not hashed", "example.com", "incorrectResponse", "none is", func(n *network, _ identifier, keyAuthorization string) {
			n.ca.SetTXT("_acme-challenge.example.com", keyAuthorization)
		}},
		{"at the wildcard", "*.example.com", "dns", "_acme-challenge.example.com", func(n *network, _ identifier, keyAuthorization string) {
			n.ca.SetTXT("_acme-challenge.*.example.com", digest(keyAuthorization))
		}},
		{"taken away", "example.com", "dns", "no TXT record", func(n *network, id identifier, keyAuthorization string) {
			n.present(id, "dns-01", keyAuthorization)
			n.ca.SetTXT("_acme-challenge.example.com")
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				ca := n.newCA(t, nil)
				n.validate(newAccount(t, ca), test.host, "dns-01", func(id identifier, keyAuthorization string) {
					test.answer(n, id, keyAuthorization)
				}).wantProblem(t, test.want, test.detail)
			})
		})
	}
}

// One order's failures are all told, each with its name.
func TestSeveralFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		ca := n.newCA(t, nil)
		ca.SetHost("*", "")
		ca.SetHost("*.example.com", "192.0.2.1")
		c := newAccount(t, ca)
		o := c.newOrder("example.com", "a.example.com", "*.b.example.com")
		for i, challengeType := range []string{"http-01", "http-01", "dns-01"} {
			url := c.authorization(o.Authorizations[i]).challenge(t, challengeType).URL
			c.post(url, map[string]any{}).want(http.StatusOK, "")
		}
		synctest.Wait()
		o = c.getOrder(o.URL)
		var got []string
		for _, sub := range o.Error.Subproblems {
			got = append(got, sub.Identifier.Value+" "+sub.kind())
		}
		want := []string{"example.com dns", "a.example.com unauthorized", "*.b.example.com dns"}
		if o.Status != "invalid" || o.Error.kind() != "compound" || !slices.Equal(got, want) {
			t.Errorf("order %+v with %s %q, want %q", o, o.Error.kind(), got, want)
		}
	})
}

// The first challenge decides; another one's outcome comes too late.
func TestFirstChallengeDecides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		ca := n.newCA(t, nil)
		c := newAccount(t, ca)
		o := c.newOrder("example.com")
		a := c.authorization(o.Authorizations[0])
		n.handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		c.post(a.challenge(t, "http-01").URL, map[string]any{}).want(http.StatusOK, "")
		c.post(a.challenge(t, "http-01").URL, map[string]any{}).want(http.StatusOK, "") // not a second validation
		n.prove(c, o, "dns-01")
		time.Sleep(time.Minute)
		if len(n.requests) != 1 {
			t.Errorf("%d requests of the web server", len(n.requests))
		}
		if a = c.authorization(o.Authorizations[0]); a.Status != "valid" || len(a.Challenges) != 1 || a.Challenges[0].Type != "dns-01" {
			t.Errorf("authorization %+v", a)
		}
		if o = c.getOrder(o.URL); o.Status != "ready" || o.Error != nil {
			t.Errorf("order %+v", o)
		}
	})
}

func TestChallengePayload(t *testing.T) {
	c := newAccount(t, inMemory(t))
	a := c.authorization(c.newOrder("example.com").Authorizations[0])
	url := a.challenge(t, "http-01").URL
	for _, payload := range []string{`null`, `[]`, `""`, `{"keyAuthorization":"x"}`, `{}{}`, `{`} {
		c.post(url, payload).want(http.StatusBadRequest, "malformed")
	}
	var got challenge
	c.post(url, nil).want(http.StatusOK, "").decode(&got)
	if got.Status != "pending" {
		t.Errorf("challenge %+v was begun by what should begin nothing", got)
	}
}

// The longest entry that fits a name counts, and the table may change at any time.
func TestSetHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		const right, wrong = "192.0.2.1", "192.0.2.99"
		ca := n.newCA(t, nil)
		c := newAccount(t, ca)
		for _, test := range []struct {
			entries []string // right ones, then wrong ones after an empty string
			name    string
		}{
			{[]string{"*"}, "www.example.com"},
			{[]string{"www.Example.com", "", "*.example.com", "*"}, "WWW.example.com"},
			{[]string{"*.example.com", "", "*.com", "*", "example.com"}, "www.example.com"},
			{[]string{"*.example.com", "", "*"}, "a.b.example.com"},
			{[]string{"*.com", "", "*", "*.example.com"}, "example.com"},
			{[]string{"192.0.2.55", "", "*"}, "192.0.2.55"},
			{[]string{"", "*"}, "192.0.2.55"},
		} {
			address := right
			for _, entry := range test.entries {
				if entry == "" {
					address = wrong
					continue
				}
				ca.SetHost(entry, address)
			}
			n.validate(c, test.name, "http-01", func(id identifier, keyAuthorization string) {
				n.present(id, "http-01", keyAuthorization)
			}).wantProblem(t, "", "")
			for _, entry := range append(test.entries, "*") {
				ca.SetHost(entry, "")
			}
		}
	})
}
