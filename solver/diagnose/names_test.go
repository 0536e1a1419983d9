package diagnose_test

import (
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver/diagnose"
	"github.com/everseal/everseal/solver/internal/solvertest"
)

// resolvesTo has the resolver, and nobody else, say that a name has this address.
func (w *world) resolvesTo(name, address string) {
	w.Resolver.Answer(func(_ string, query, reply *dnsmessage.Message) [][]byte {
		q := query.Questions[0]
		if strings.EqualFold(q.Name.String(), name+".") && (q.Type == dnsmessage.TypeA || q.Type == dnsmessage.TypeAAAA) {
			reply.RCode, reply.Answers, reply.Authorities = dnsmessage.RCodeSuccess, nil, nil
			if q.Type == dnsmessage.TypeA {
				header := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: dnsmessage.ClassINET}
				reply.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AResource{A: netip.MustParseAddr(address).As4()}}}
			}
		}
		return solvertest.Pack(reply)
	})
}

// breaks has the resolver answer SERVFAIL to questions for a name and below; with dnssec, it answers where
// validation is off.
func (w *world) breaks(name string, dnssec bool) {
	w.Resolver.Answer(func(network string, query, reply *dnsmessage.Message) [][]byte {
		if strings.HasSuffix(query.Questions[0].Name.String(), name+".") && !(dnssec && query.CheckingDisabled) {
			return solvertest.Failing(dnsmessage.RCodeServerFailure)(network, query, reply)
		}
		return solvertest.Pack(reply)
	})
}

const (
	signCure   = "sign the zone anew, or correct the DS record at its registrar"
	zoneCure   = "check whether the zone's name servers are up and hold the zone"
	publicCure = "let the public record lead to this server, or use DNS-01"
	reachCure  = "set its record to an address that the Internet reaches, or use DNS-01; for a CA on that network, set Vantage.Private"
	aaaaCure   = "set the AAAA record to this server's address, or remove it"
)

// dual has example.com lead to a server that answers right over IPv4, and elsewhere over IPv6.
func (w *world) dual() {
	w.site(w.answering())
	w.add("example.com", "AAAA", "2001:db8::1")
}

func addressTests() []diagnoseTest {
	tests := []diagnoseTest{{
		name: "stale AAAA", cause: diagnose.CauseAddressMismatch,
		setUp: func(w *world) {
			w.dual()
			w.put("[2001:db8::1]:80", solvertest.ServeHTTP(w.t, respond(404, "", "Server", "nginx")))
		},
		want: "example.com leads elsewhere over IPv6: 2001:db8::1 (AAAA) answers 404 Not Found (server: nginx), while 192.0.2.1 (A) answers right: " + aaaaCure,
	}, {
		name: "stale AAAA without a server", cause: diagnose.CauseAddressMismatch, setUp: (*world).dual,
		failure: refusal(acme.ErrConnection, "2001:db8::1: Connection refused"),
		want:    "example.com leads elsewhere over IPv6: 2001:db8::1 (AAAA) refuses connections to port 80, while 192.0.2.1 (A) answers right: " + aaaaCure,
	}, {
		name: "stale AAAA that cannot be reached from here", cause: diagnose.CauseAddressMismatch,
		setUp: func(w *world) {
			w.dual()
			w.fail("[2001:db8::1]:80", errUnroutable)
		},
		failure: refusal(acme.ErrUnauthorized, "2001:db8::1: Invalid response from http://example.com/: 404"),
		want: "the CA asked example.com at 2001:db8::1 (AAAA), where this machine has no way to " +
			"(its words: 2001:db8::1: Invalid response from http://example.com/: 404): " + aaaaCure,
	}, {
		name: "one of two addresses closed", cause: diagnose.CausePortClosed,
		setUp: func(w *world) {
			w.site(w.answering())
			w.add("example.com", "A", "192.0.2.2")
		},
		want: "port 80 of example.com at 192.0.2.2 is closed: connections are refused, while 192.0.2.1 answers right: " +
			"let a server listen on port 80 of every address, or forward it to this process",
	}, {
		name: "no such name", cause: diagnose.CauseNoAddress,
		proof: solvertest.NewProof(acme.TypeHTTP01, "typo.example.com"), setUp: func(*world) {},
		want: "typo.example.com does not resolve: there is no such name (NXDOMAIN): register the name, or add its A or AAAA record with this server's address",
	}, {
		name: "no address", cause: diagnose.CauseNoAddress,
		setUp: func(w *world) { w.add("example.com", "TXT", "only text") },
		want:  "example.com does not resolve: it has neither an A nor an AAAA record: add an A or AAAA record with this server's address",
	}, {
		name: "DNSSEC broken", cause: diagnose.CauseDNSSEC,
		setUp: func(w *world) { w.breaks("example.com", true) },
		want:  "DNSSEC is broken for example.com: its CAA record is answered with SERVFAIL, and with validation off it is there: " + signCure,
	}, {
		name: "DNSSEC broken as the CA sees it", cause: diagnose.CauseDNSSEC, setUp: func(w *world) { w.site(w.answering()) },
		failure: refusal(acme.ErrDNS, "DNS problem: looking up A for example.com: DNSSEC: DNSKEY Missing"),
		want: "DNSSEC is broken for example.com as the CA sees it " +
			"(its words: DNS problem: looking up A for example.com: DNSSEC: DNSKEY Missing): " + signCure,
	}, {
		name: "name servers down", cause: diagnose.CauseDNSFailure,
		setUp: func(w *world) { w.breaks("example.com", false) },
		want:  "the DNS fails for example.com: its CAA record is answered with SERVFAIL: " + zoneCure,
	}}
	return withProof(tests, overHTTP)
}

func privateTests() []diagnoseTest {
	unauthorized := refusal(acme.ErrUnauthorized, "Invalid response: 404")
	tests := []diagnoseTest{{
		name: "loopback", cause: diagnose.CausePrivateAddress,
		setUp: func(w *world) { w.add("example.com", "A", "127.0.0.1") },
		want:  "example.com leads to 127.0.0.1, a loopback address, which no CA on the Internet reaches: " + reachCure,
	}, {
		name: "a private address", cause: diagnose.CausePrivateAddress, failure: refusal(acme.ErrDNS, "no valid A records found for example.com"),
		setUp: func(w *world) {
			w.add("example.com", "A", "10.0.0.5")
			w.put("10.0.0.5:80", solvertest.ServeHTTP(w.t, w.answering()))
		},
		want: "example.com leads to 10.0.0.5, a private address, which no CA on the Internet reaches: " + reachCure,
	}, {
		name: "split horizon", cause: diagnose.CauseSplitHorizon, failure: unauthorized, setUp: (*world).splitHorizon,
		want: "example.com is 10.0.0.5 here and 192.0.2.1 at its authoritative server ns1.example.com (198.51.100.1), " +
			"where it is not (port 80 of example.com at 192.0.2.1 is answered by another server or virtual host: it answers 404 Not Found): " + publicCure,
	}, {
		name: "split horizon behind a router that leads back", cause: diagnose.CauseSplitHorizon, failure: unauthorized,
		setUp: func(w *world) {
			w.splitHorizon()
			w.put("192.0.2.1:80", solvertest.ServeHTTP(w.t, w.answering()))
		},
		want: "example.com is 10.0.0.5 here and 192.0.2.1 at its authoritative server ns1.example.com (198.51.100.1): " + publicCure,
	}, {
		name: "a name that only this network has", cause: diagnose.CauseSplitHorizon,
		proof: solvertest.NewProof(acme.TypeHTTP01, "intern.example.com"),
		setUp: func(w *world) {
			w.resolvesTo("intern.example.com", "10.0.0.5")
			w.put("10.0.0.5:80", solvertest.ServeHTTP(w.t, w.answering()))
		},
		want: "intern.example.com is 10.0.0.5 here, and has no address at its authoritative server ns1.example.com (198.51.100.1): " +
			"publish its address in the zone that the Internet sees, or use DNS-01",
	}, {
		name: "an address that only the CA sees", cause: diagnose.CauseSplitHorizon, setUp: func(w *world) { w.site(w.answering()) },
		failure: refusal(acme.ErrUnauthorized, "203.0.113.9: Invalid response from http://example.com/: 404"),
		want: "the CA asked example.com at 203.0.113.9 (its words: 203.0.113.9: Invalid response from http://example.com/: 404), where none of its records at " +
			ns1 + " leads (192.0.2.1): the CA's cache has an old A record: " + oldCure,
	}, {
		name: "an address that the resolver here has in its cache too", cause: diagnose.CauseSplitHorizon,
		setUp: func(w *world) {
			w.site(w.answering())
			w.resolvesTo("example.com", "203.0.113.7")
			w.put("203.0.113.7:80", solvertest.ServeHTTP(w.t, w.answering()))
		},
		failure: refusal(acme.ErrConnection, "203.0.113.7: Fetching http://example.com/: Connection refused"),
		want: "the CA asked example.com at 203.0.113.7 (its words: 203.0.113.7: Fetching http://example.com/: Connection refused), where none of its records at " +
			ns1 + " leads (192.0.2.1): the CA's cache has an old A record: " + oldCure,
	}, {
		name: "an address that only the CA sees, with no authoritative server to be asked", cause: diagnose.CauseSplitHorizon,
		setUp: func(w *world) {
			w.site(w.answering())
			w.silence()
		},
		failure: refusal(acme.ErrUnauthorized, "203.0.113.9: Invalid response from http://example.com/: 404"),
		want:    "example.com is 192.0.2.1 here, and 203.0.113.9 for the CA (its words: 203.0.113.9: Invalid response from http://example.com/: 404): " + publicCure,
	}}
	return withProof(tests, overHTTP)
}

// splitHorizon has example.com lead to this server here, and to another outside.
func (w *world) splitHorizon() {
	w.site(respond(404, ""))
	w.resolvesTo("example.com", "10.0.0.5")
	w.put("10.0.0.5:80", solvertest.ServeHTTP(w.t, w.answering()))
}

func failureTests() []diagnoseTest {
	right := func(w *world) { w.site(w.answering()) }
	const openCure = "open port 80 to every address: CAs validate from several networks and countries at once"
	return []diagnoseTest{{
		name: "a firewall that lets some vantage points in", proof: overHTTP, cause: diagnose.CauseVantagePoints, setUp: right,
		failure: refusal(acme.ErrConnection, "During secondary validation: 192.0.2.1: Fetching http://example.com/: Timeout during connect (likely firewall problem)"),
		want: "example.com answers right from here, but not from each place that the CA validates from (its words: During secondary validation: " +
			"192.0.2.1: Fetching http://example.com/: Timeout during connect (likely firewall problem)): a firewall may let only some of them in: " + openCure,
	}, {
		name: "a timeout that only the CA sees", proof: overHTTP, cause: diagnose.CauseVantagePoints, setUp: right,
		failure: refusal(acme.ErrConnection, "Timeout during connect"),
		want: "example.com answers right from here, but not from each place that the CA validates from (its words: Timeout during connect): " +
			"a firewall may let only some of them in: " + openCure,
	}, {
		name: "vantage points and tls-alpn-01", proof: overTLS, cause: diagnose.CauseVantagePoints,
		setUp: func(w *world) { w.tlsSite(w.challengeTLS()) },
		failure: fmt.Errorf("order: %w", &acme.Problem{
			Type: acme.ErrMalformed, Detail: "some failed",
			Subproblems: []*acme.Problem{{Detail: "Perspectives disagreed"}, nil},
		}),
		want: "example.com answers right from here, but not from each place that the CA validates from (its words: some failed): " +
			"a firewall may let only some of them in: open port 443 to every address: CAs validate from several networks and countries at once",
	}, {
		name: "resolvers that refuse, and a CA that fails too", proof: overHTTP, cause: diagnose.CauseDNSFailure,
		setUp:   func(w *world) { w.Resolver.Answer(solvertest.Failing(dnsmessage.RCodeRefused)) },
		failure: refusal(acme.ErrDNS, "SERVFAIL looking up A"),
		want:    `the DNS fails: no resolver has an answer for CAA "example.com": "192.0.2.53:53": REFUSED: ` + zoneCure,
	}, {
		name: "CAA that only the CA sees", proof: overHTTP, cause: diagnose.CauseCAA, setUp: right,
		failure: refusal(acme.ErrCAA, "CAA record for example.com prevents issuance"),
		want: "CAA does not let the CA issue for example.com (its words: CAA record for example.com prevents issuance), though no CAA record is seen from here: " +
			"check whether all name servers of the zone, and of those above it, answer questions for CAA",
	}, {
		name: "CAA in capitals", proof: overHTTP, cause: diagnose.CauseCAA,
		setUp: func(w *world) {
			right(w)
			w.add("example.com", "CAA", "0 issue CA.example")
		},
		failure: refusal(acme.ErrCAA, "CAA record for example.com prevents issuance"),
		want: "CAA does not let the CA issue for example.com (its words: CAA record for example.com prevents issuance): " +
			`the records at example.com are 0 issue "CA.example": write the CA's own domain name there as it writes it itself, in lower case`,
	}}
}
