package diagnose_test

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver/diagnose"
	"github.com/everseal/everseal/solver/internal/solvertest"
)

// lame is the Answer of a server that was not told of the zone.
func lame(_ string, _, reply *dnsmessage.Message) [][]byte {
	reply.Authoritative, reply.Answers, reply.Authorities = false, nil, nil
	return solvertest.Pack(reply)
}

// A name server that is of no use is named, though others answer.
func TestDiagnoseNamesFaultyNameservers(t *testing.T) {
	const secondary = "During secondary validation: "
	for name, test := range map[string]struct {
		answer solvertest.Answer
		says   string
	}{
		"refuses": {solvertest.Failing(dnsmessage.RCodeRefused), "REFUSED"},
		"fails":   {solvertest.WithExtended(dnsmessage.RCodeServerFailure, 14, "starting\x1b"), `SERVFAIL (extended error 14, Not Ready: starting\x1b)`},
		"lame":    {lame, "that it does not hold the zone"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.add(solvertest.ChallengeName, "TXT", solvertest.ValueOf(overDNS))
			w.site(w.answering())
			w.tlsSite(w.challengeTLS())
			w.nameservers[1].Answer(test.answer)
			for _, p := range []acme.Proof{overDNS, overHTTP, overTLS} {
				d := w.diagnose(p, refusal(acme.ErrDNS, "query timed out looking up A for example.com"))
				want := "the name server " + ns2 + " of the zone example.com does not answer for it, while others do: it says " + test.says +
					": repair that server, or take it out of the zone's NS records"
				if d.Cause != diagnose.CauseDNSFailure || d.String() != want {
					t.Errorf("%s: %q, %s\nwant %s", p.Type, d.Cause, d, want)
				}
				if !slices.ContainsFunc(d.Lookups, func(l diagnose.Lookup) bool { return l.Server == ns2 && l.Error != "" }) {
					t.Errorf("%s: it is not in the evidence", p.Type)
				}
				requireBounded(t, d)
				d = w.diagnose(p, refusal(acme.ErrUnauthorized, secondary+"not found"))
				if d.Cause != diagnose.CauseVantagePoints || !strings.Contains(d.Reason, "of the name servers of the zone example.com "+ns2+" says "+test.says) {
					t.Errorf("%s at some vantage points: %q, %s", p.Type, d.Cause, d)
				}
			}
		})
	}
}

func TestDiagnoseNamesASilentNameserver(t *testing.T) {
	for _, p := range []acme.Proof{overDNS, overHTTP} {
		synctest.Test(t, func(t *testing.T) {
			dns := solvertest.NewMemoryDNS(t)
			servers := dns.Zone("example.com", "198.51.100.1", "198.51.100.2")
			for _, s := range servers {
				s.Add("example.com", "A", "192.0.2.1")
				s.Add(solvertest.ChallengeName, "TXT", solvertest.ValueOf(overDNS))
			}
			servers[1].Answer(solvertest.Silent)
			web := func(context.Context, string, string) (net.Conn, error) { return nil, errUnroutable }
			d := diagnose.After(t.Context(), p, refusal(acme.ErrDNS, "query timed out"), diagnose.Vantage{DNS: dnsFor(dns), Dial: web})
			want := "the name server " + ns2 + " of the zone example.com does not answer for it, while others do: it says nothing"
			if d.Cause != diagnose.CauseDNSFailure || d.Reason != want {
				t.Errorf("%s: %q, %s", p.Type, d.Cause, d)
			}
		})
	}
}

// What a resolver says beside its response code stands in the evidence and in the cause.
func TestDiagnoseOfExtendedErrors(t *testing.T) {
	for name, test := range map[string]struct {
		proof   acme.Proof
		code    dnsmessage.RCode
		number  uint16
		failure error
		cause   diagnose.Cause
		want    string
	}{
		"bogus": {overHTTP, dnsmessage.RCodeServerFailure, 6, nil, diagnose.CauseDNSSEC,
			"DNSSEC is broken for example.com: its CAA record is answered with SERVFAIL (extended error 6, DNSSEC Bogus: in words): " + signCure},
		"expired": {overDNS, dnsmessage.RCodeServerFailure, 7, nil, diagnose.CauseDNSSEC,
			"DNSSEC is broken for example.com: its CAA record is answered with SERVFAIL (extended error 7, Signature Expired: in words): " + signCure},
		"no authority": {overTLS, dnsmessage.RCodeServerFailure, 22, nil, diagnose.CauseDNSFailure,
			"the DNS fails for example.com: its CAA record is answered with SERVFAIL (extended error 22, No Reachable Authority: in words): " + zoneCure},
		"prohibited": {overHTTP, dnsmessage.RCodeRefused, 18, nil, diagnose.CauseDNSFailure,
			"a resolver keeps the CAA record of example.com back (extended error 18, Prohibited: in words): " + otherCure},
		"blocked": {overHTTP, dnsmessage.RCodeNameError, 15, nil, diagnose.CauseDNSFailure,
			"a resolver keeps the A record of example.com back (extended error 15, Blocked: in words; extended error 15, Blocked: in words): " + otherCure},
		"filtered": {overDNS, dnsmessage.RCodeNameError, 17, refusal(acme.ErrUnauthorized, "No TXT record found"), diagnose.CauseDNSFailure,
			"a resolver keeps the TXT record of _acme-challenge.example.com back (extended error 17, Filtered: in words): " + otherCure},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			extended := solvertest.WithExtended(test.code, test.number, "in words")
			w.add(solvertest.ChallengeName, "TXT", solvertest.ValueOf(overDNS))
			w.Resolver.Answer(func(network string, query, reply *dnsmessage.Message) [][]byte {
				q := query.Questions[0]
				asked := strings.TrimSuffix(q.Name.String(), ".")
				if test.proof.Type == acme.TypeDNS01 && test.code == dnsmessage.RCodeNameError && q.Type != dnsmessage.TypeTXT ||
					asked != "example.com" && asked != solvertest.ChallengeName {
					return solvertest.Pack(reply)
				}
				return extended(network, query, reply)
			})
			d := w.diagnose(test.proof, test.failure)
			if d.Cause != test.cause || d.String() != test.want {
				t.Errorf("%q, %s\nwant %s", d.Cause, d, test.want)
			}
			told := func(l diagnose.Lookup) bool {
				return len(l.Extended) > 0 && strings.Contains(l.Extended[0], ": in words")
			}
			if !slices.ContainsFunc(d.Lookups, told) || !strings.Contains(d.LogValue().String(), ": in words") {
				t.Errorf("the evidence does not have it: %+v", d.Lookups)
			}
			requireBounded(t, d)
		})
	}
}

const otherCure = "take the name off that resolver's list, or have other resolvers asked by DNS.Resolvers"
