package diagnose_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver/diagnose"
	"github.com/everseal/everseal/solver/internal/solvertest"
)

// requireNoCause fails the test if a cause was found.
func requireNoCause(t *testing.T, d *diagnose.Report, seen bool) {
	t.Helper()
	if d.Cause != "" || d.Reason != "" || d.Cure != "" || d.Seen != seen {
		t.Errorf("%s: seen %v, want no cause and %v\n%+v", d, d.Seen, seen, *d)
	}
	requireBounded(t, d)
}

// challengeTLS is the TLS configuration of a server that answers tls-alpn-01.
func (w *world) challengeTLS() *tls.Config {
	config := w.certificate("example.com")
	config.GetCertificate = w.tlsALPN01.GetCertificate
	return config
}

// A rightTest is a set-up that is right, though maybe not plain.
type rightTest struct {
	name  string
	proof acme.Proof
	setUp func(w *world)
}

func TestDiagnoseRight(t *testing.T) {
	for _, test := range slices.Concat(rightServers(), rightNames(), rightRecords(), rightCAA()) {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			test.setUp(w)
			requireNoCause(t, w.diagnose(test.proof, nil), true)
		})
	}
}

func rightServers() []rightTest {
	overIPv6 := solvertest.NewProof(acme.TypeHTTP01, "2001:db8::7")
	return []rightTest{
		{"one address", overHTTP, func(w *world) { w.site(w.answering()) }},
		{"both families", overHTTP, func(w *world) {
			w.dual()
			w.put("[2001:db8::1]:80", solvertest.ServeHTTP(w.t, w.answering()))
		}},
		{"IPv6 only", overHTTP, func(w *world) {
			w.add("example.com", "AAAA", "2001:db8::1")
			w.put("[2001:db8::1]:80", solvertest.ServeHTTP(w.t, w.answering()))
		}},
		{"IPv6 that cannot be reached from here", overHTTP, func(w *world) {
			w.dual()
			w.fail("[2001:db8::1]:80", errUnroutable)
		}},
		{"IPv6 that nobody answers at, where CAs go on to IPv4", overHTTP, func(w *world) {
			w.dual()
			w.fail("[2001:db8::1]:80", errFiltered)
		}},
		{"an IPv6 address", overIPv6, func(w *world) { w.put("[2001:db8::7]:80", solvertest.ServeHTTP(w.t, w.answering())) }},
		{"redirect to https", overHTTP, func(w *world) {
			w.site(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "https://EXAMPLE.com"+r.URL.Path, http.StatusMovedPermanently)
			}))
			w.put("192.0.2.1:443", solvertest.ServeWithTLS(w.t, w.certificate("other.example"), w.answering()))
		}},
		{"redirect to another host, which has the answer", overHTTP, func(w *world) {
			w.site(http.RedirectHandler("http://www.example.com/.well-known/acme-challenge/"+solvertest.Token, http.StatusPermanentRedirect))
			w.add("www.example.com", "AAAA", "2001:db8::9")
			w.add("www.example.com", "A", "192.0.2.9")
			w.fail("[2001:db8::9]:80", errUnroutable)
			w.put("192.0.2.9:80", solvertest.ServeHTTP(w.t, w.answering()))
		}},
		{"Cloudflare that forwards", overHTTP, func(w *world) {
			answering := w.answering()
			w.site(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				rw.Header().Set("Server", "cloudflare")
				answering.ServeHTTP(rw, r)
			}))
		}},
	}
}

func rightNames() []rightTest {
	return []rightTest{
		{"CNAME", solvertest.NewProof(acme.TypeHTTP01, "www.example.com"), func(w *world) {
			host := w.Zone("host.example", "198.51.100.9")[0]
			host.Add("server.host.example", "A", "192.0.2.1")
			w.add("www.example.com", "CNAME", "server.host.example")
			w.put("192.0.2.1:80", solvertest.ServeHTTP(w.t, w.answering()))
		}},
		{"split horizon where both lead here", overHTTP, func(w *world) {
			w.splitHorizon()
			w.put("192.0.2.1:80", solvertest.ServeHTTP(w.t, w.answering()))
		}},
		{"an address that the resolver remembers", overHTTP, func(w *world) {
			w.site(w.answering())
			w.resolvesTo("example.com", "192.0.2.99")
		}},
		{"authoritative servers that cannot be asked", overHTTP, func(w *world) {
			w.site(w.answering())
			w.silence()
		}},
		{"tls-alpn-01", overTLS, func(w *world) { w.tlsSite(w.challengeTLS()) }},
	}
}

func rightRecords() []rightTest {
	wildcard := overDNS
	wildcard.Wildcard = true
	return []rightTest{
		{"dns-01", overDNS, func(w *world) { w.add(solvertest.ChallengeName, "TXT", solvertest.ValueOf(overDNS)) }},
		{"dns-01 without an address, beside other values", wildcard, func(w *world) {
			w.add(solvertest.ChallengeName, "TXT", "other")
			w.add(solvertest.ChallengeName, "TXT", solvertest.ValueOf(overDNS))
		}},
		{"dns-01 with one server down", overDNS, func(w *world) {
			w.add(solvertest.ChallengeName, "TXT", solvertest.ValueOf(overDNS))
			w.nameservers[1].Answer(solvertest.Failing(dnsmessage.RCodeServerFailure))
		}},
		{"dns-01 with one server that only passes on what others say", overDNS, func(w *world) {
			w.add(solvertest.ChallengeName, "TXT", solvertest.ValueOf(overDNS))
			w.nameservers[1].Answer(func(_ string, _, reply *dnsmessage.Message) [][]byte {
				reply.Authoritative, reply.Answers = false, nil
				return solvertest.Pack(reply)
			})
		}},
		{"dns-01 by a CNAME to another zone", overDNS, func(w *world) {
			w.Zone("acme.example", "198.51.100.9")[0].Add("1f.acme.example", "TXT", solvertest.ValueOf(overDNS))
			w.add(solvertest.ChallengeName, "CNAME", "1f.acme.example")
		}},
		{"dns-persist-01", solvertest.Persistent(true), func(w *world) {
			w.add("_validation-persist.example.com", "TXT", "ca.example;policy=wildcard ; accounturi=https://ca.example/account/1")
		}},
	}
}

func rightCAA() []rightTest {
	wildcard := overDNS
	wildcard.Wildcard = true
	return []rightTest{
		{"CAA for this CA among others", overHTTP, func(w *world) {
			w.site(w.answering())
			for _, record := range []string{"0 issue other.example", "0 issue CA.example; accounturi=https://ca.example/account/1; validationmethods=dns-01,http-01",
				"0 issuewild ;", "128 iodef mailto:a@example.com", "0 future x"} {
				w.add("example.com", "CAA", record)
			}
		}},
		{"CAA for wildcards alone", overHTTP, func(w *world) {
			w.site(w.answering())
			w.add("example.com", "CAA", "0 issuewild other.example")
		}},
		{"CAA for wildcards, and a wildcard", wildcard, func(w *world) {
			w.add(solvertest.ChallengeName, "TXT", solvertest.ValueOf(overDNS))
			w.add("example.com", "CAA", "0 issue ;")
			w.add("example.com", "CAA", "0 issuewild ca.example")
		}},
		{"CAA of a name nearer than one that forbids", solvertest.NewProof(acme.TypeHTTP01, "a.b.example.com"), func(w *world) {
			w.add("a.b.example.com", "A", "192.0.2.1")
			w.put("192.0.2.1:80", solvertest.ServeHTTP(w.t, w.answering()))
			w.add("b.example.com", "CAA", "0 issue ca.example")
			w.add("example.com", "CAA", "0 issue ;")
		}},
		{"CAA where a CNAME leads", solvertest.NewProof(acme.TypeHTTP01, "www.example.com"), func(w *world) {
			host := w.Zone("host.example", "198.51.100.9")[0]
			host.Add("server.host.example", "A", "192.0.2.1")
			host.Add("server.host.example", "CAA", "0 issue ca.example")
			host.Add("host.example", "CAA", "0 issue ;")
			w.add("www.example.com", "CNAME", "server.host.example")
			w.add("example.com", "CAA", "0 issue ;")
			w.put("192.0.2.1:80", solvertest.ServeHTTP(w.t, w.answering()))
		}},
	}
}

// silence has the zone's servers not answer.
func (w *world) silence() {
	for _, s := range w.nameservers {
		s.Answer(solvertest.Failing(dnsmessage.RCodeRefused))
	}
}

// Where a look is not possible, nothing is said against the set-up.
func TestDiagnoseUnknown(t *testing.T) {
	for _, test := range []struct {
		name  string
		proof acme.Proof
		setUp func(w *world)
	}{
		{"no way to the only address", overHTTP, func(w *world) {
			w.add("example.com", "A", "192.0.2.1")
			w.fail("192.0.2.1:80", errUnroutable)
		}},
		{"split horizon behind a router that does not lead back", overHTTP, func(w *world) {
			w.splitHorizon()
			w.fail("192.0.2.1:80", errFiltered)
		}},
		{"no resolver", overHTTP, func(w *world) { w.Resolver.Answer(solvertest.Failing(dnsmessage.RCodeRefused)) }},
		{"no authoritative server", overDNS, func(w *world) { w.silence() }},
		{"a challenge of another kind", solvertest.NewProof(acme.TypeDeviceAttest01, "example.com"), func(*world) {}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			test.setUp(w)
			requireNoCause(t, w.diagnose(test.proof, nil), false)
		})
	}
}

// What the CA refused for reasons of its own has no cause in the set-up.
func TestDiagnoseOtherFailures(t *testing.T) {
	for name, failure := range map[string]error{
		"a rate limit":       refusal(acme.ErrRateLimited, "too many certificates"),
		"the CA's own error": refusal(acme.ErrServerInternal, "Error finalizing order"),
		"no word of the CA":  io.ErrUnexpectedEOF,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.dual()
			requireNoCause(t, w.diagnose(overHTTP, failure), true)
		})
	}
}

func TestDiagnoseUnusableProof(t *testing.T) {
	for name, p := range map[string]acme.Proof{
		"a wildcard over http": {Challenge: overHTTP.Challenge, Identifier: overHTTP.Identifier, Wildcard: true, KeyAuthorization: overHTTP.KeyAuthorization},
		"a name with a port":   solvertest.NewProof(acme.TypeHTTP01, "example.com:80"),
		"a name that escapes":  solvertest.NewProof(acme.TypeDNS01, "a\r\n\x1b[31m"+strings.Repeat("x", 5000)),
		"an address by DNS":    solvertest.NewProof(acme.TypeDNS01, "192.0.2.1"),
		"nothing":              {},
	} {
		t.Run(name, func(t *testing.T) {
			d := diagnose.Before(t.Context(), p, newWorld(t).vantage())
			if d.Cause != diagnose.CauseUnusableProof || d.Reason == "" || d.Cure == "" {
				t.Errorf("%+v", *d)
			}
			requireBounded(t, d)
		})
	}
}

// A server that takes connections and is silent is waited for, but no longer than by a CA.
func TestDiagnoseOfSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns := solvertest.NewMemoryDNS(t)
		dns.Zone("example.com", "198.51.100.1")[0].Add("example.com", "A", "192.0.2.1")
		var serving sync.WaitGroup
		silent := func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			serving.Go(func() {
				io.Copy(io.Discard, server)
				server.Close()
			})
			return client, nil
		}
		for _, p := range []acme.Proof{overHTTP, overTLS} {
			start := time.Now()
			d := diagnose.Before(t.Context(), p, diagnose.Vantage{DNS: dnsFor(dns), Dial: silent})
			port := map[string]string{acme.TypeHTTP01: "80", acme.TypeTLSALPN01: "443"}[p.Type]
			want := "port " + port + " of example.com at 192.0.2.1 takes connections and gives no answer within 10s: find out why the server there does not answer"
			if waited := time.Since(start); d.Cause != diagnose.CauseBrokenServer || d.String() != want || waited != 10*time.Second {
				t.Errorf("after %v: %q, %s, want %s", waited, d.Cause, d, want)
			}
			requireBounded(t, d)
		}
		serving.Wait()
	})
}

// A firewall that drops packets is found out by waiting as long as a CA; where that is cut short, it is not.
func TestDiagnoseWaits(t *testing.T) {
	for limit, want := range map[time.Duration]diagnose.Cause{time.Hour: diagnose.CausePortFiltered, time.Second: ""} {
		synctest.Test(t, func(t *testing.T) {
			dns := solvertest.NewMemoryDNS(t)
			dns.Zone("example.com", "198.51.100.1")[0].Add("example.com", "A", "192.0.2.1")
			filtered := func(ctx context.Context, _, _ string) (net.Conn, error) {
				<-ctx.Done()
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: ctx.Err()}
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			start := time.Now()
			d := diagnose.Before(ctx, overHTTP, diagnose.Vantage{DNS: dnsFor(dns), Dial: filtered})
			if d.Cause != want || d.Seen {
				t.Errorf("with a limit of %v: %+v", limit, d)
			}
			if waited := time.Since(start); waited != min(limit, 10*time.Second) {
				t.Errorf("with a limit of %v it took %v", limit, waited)
			}
		})
	}
}
