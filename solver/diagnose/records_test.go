package diagnose_test

import (
	"net/http"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver/diagnose"
	"github.com/everseal/everseal/solver/internal/solvertest"
)

const (
	ns1 = "ns1.example.com (198.51.100.1)"
	ns2 = "ns2.example.com (198.51.100.2)"
)

func recordTests() []diagnoseTest {
	value := solvertest.ValueOf(overDNS)
	const waitCure = "check whether the provider writes to this zone, and wait longer before the CA is told to validate (DNS01.Propagation)"
	const transferCure = "wait until all servers have it (DNS01.Propagation), or repair the transfer of the zone to this server"
	persist := solvertest.Persistent(false)
	account := solvertest.NewProof(acme.TypeDNSAccount01, "example.com")
	accountName, _, _ := account.TXTRecord()
	tests := []diagnoseTest{{
		name: "record not yet on one server", cause: diagnose.CauseRecordMissing,
		setUp: func(w *world) {
			w.add(solvertest.ChallengeName, "TXT", "old")
			w.nameservers[0].Add(solvertest.ChallengeName, "TXT", value)
		},
		want: "the TXT record _acme-challenge.example.com is not yet on every server of the zone example.com: " + ns2 + ` says "old": ` + transferCure,
	}, {
		name: "record on no server", cause: diagnose.CauseRecordMissing, setUp: func(*world) {},
		want: "no server of the zone example.com has the TXT record _acme-challenge.example.com with the value " + value + ": " +
			ns1 + " says that there is no such name (NXDOMAIN): " + waitCure,
	}, {
		name: "two other records", cause: diagnose.CauseRecordMissing,
		setUp: func(w *world) {
			w.add(solvertest.ChallengeName, "TXT", "\x1b[31m\n")
			w.add(solvertest.ChallengeName, "TXT", "b")
		},
		want: "no server of the zone example.com has the TXT record _acme-challenge.example.com with the value " + value + ": " +
			ns1 + ` says "\x1b[31m\n" and 1 more: ` + waitCure,
	}, {
		name: "record of dns-account-01", cause: diagnose.CauseRecordMissing, proof: account,
		setUp: func(w *world) { w.add(solvertest.ChallengeName, "TXT", value) },
		want: "no server of the zone example.com has the TXT record " + accountName + " with the value " + value + ": " +
			ns1 + " says that there is no such name (NXDOMAIN): " + waitCure,
	}, {
		name: "standing record of another account", cause: diagnose.CauseRecordMissing, proof: persist,
		setUp: func(w *world) {
			w.add("_validation-persist.example.com", "TXT", "ca.example; accounturi=https://ca.example/account/2")
		},
		want: "no server of the zone example.com has the TXT record _validation-persist.example.com with the value " +
			"ca.example; accounturi=https://ca.example/account/1: " + ns1 + ` says "ca.example; accounturi=https://ca.example/account/2": set it once, for good`,
	}, {
		name: "CNAME to a zone without the record", cause: diagnose.CauseForeignAlias,
		setUp: func(w *world) {
			w.Zone("acme.example", "198.51.100.9")
			w.add(solvertest.ChallengeName, "CNAME", "1f.acme.example")
		},
		want: "_acme-challenge.example.com is a CNAME to 1f.acme.example in the zone acme.example, where the record is not: " +
			"ns1.acme.example (198.51.100.9) says that there is no such name (NXDOMAIN): let the provider write to the zone acme.example (DNS01.FollowCNAME), or remove the CNAME",
	}, {
		name: "CNAME within the zone", cause: diagnose.CauseRecordMissing,
		setUp: func(w *world) { w.add(solvertest.ChallengeName, "CNAME", "elsewhere.example.com") },
		want: "no server of the zone example.com has the TXT record elsewhere.example.com with the value " + value + ": " +
			ns1 + " says that there is no such name (NXDOMAIN): " + waitCure,
	}}
	return withProof(tests, overDNS)
}

func nameserverTests() []diagnoseTest {
	value := solvertest.ValueOf(overDNS)
	tests := []diagnoseTest{{
		name: "DNSSEC broken for a DNS challenge", cause: diagnose.CauseDNSSEC,
		setUp: func(w *world) {
			w.add(solvertest.ChallengeName, "TXT", value)
			w.breaks(solvertest.ChallengeName, true)
		},
		want: "DNSSEC is broken for _acme-challenge.example.com: its TXT record is answered with SERVFAIL, and with validation off it is there: " + signCure,
	}, {
		name: "a name server that the CA cannot ask", cause: diagnose.CauseDNSFailure, failure: refusal(acme.ErrDNS, "query timed out looking up TXT"),
		setUp: func(w *world) {
			w.add(solvertest.ChallengeName, "TXT", value)
			w.nameservers[1].Answer(solvertest.Failing(dnsmessage.RCodeRefused))
		},
		want: "the name server " + ns2 + " of the zone example.com does not answer for it, while others do: it says REFUSED: repair that server, or take it out of the zone's NS records",
	}, {
		name: "a resolver that remembers", cause: diagnose.CauseRecordMissing, failure: refusal(acme.ErrUnauthorized, "No TXT record found"),
		setUp: func(w *world) {
			w.add(solvertest.ChallengeName, "TXT", value)
			w.Resolver.Answer(func(_ string, query, reply *dnsmessage.Message) [][]byte {
				if query.Questions[0].Type == dnsmessage.TypeTXT {
					reply.Answers = nil
				}
				return solvertest.Pack(reply)
			})
		},
		want: "the resolvers do not see the TXT record _acme-challenge.example.com: they say that there is no TXT record: " +
			"wait until the old answer is forgotten before the CA is told to validate (DNS01.Propagation)",
	}, {
		name: "name servers that tell the CA otherwise", cause: diagnose.CauseVantagePoints, failure: refusal(acme.ErrUnauthorized, "No TXT record found"),
		setUp: func(w *world) { w.add(solvertest.ChallengeName, "TXT", value) },
		want: "all name servers of the zone example.com have the TXT record as seen from here, but not as the CA sees it (its words: No TXT record found): " +
			"let every name server, and every site of an anycast one, answer all askers alike, then try again",
	}}
	return withProof(tests, overDNS)
}

func caaTests() []diagnoseTest {
	records := func(records ...string) func(w *world) {
		return func(w *world) {
			w.site(w.answering())
			w.add("www.example.com", "A", "192.0.2.1")
			w.add(solvertest.ChallengeName, "TXT", solvertest.ValueOf(overDNS))
			for _, record := range records {
				w.add("example.com", "CAA", record)
			}
		}
	}
	wildcard := overDNS
	wildcard.Wildcard = true
	const addCure = `: add the record 0 issue "ca.example" there, or use a CA that is named`
	tests := []diagnoseTest{{
		name: "CAA for another CA", setUp: records("0 issue other.example"),
		want: `the CAA record at example.com (0 issue "other.example") does not let ca.example issue for example.com` + addCure,
	}, {
		name: "CAA for other CAs, of the name above", setUp: records("0 issue other.example", "0 ISSUE third.example", "0 iodef mailto:a@example.com"),
		proof: solvertest.NewProof(acme.TypeHTTP01, "www.example.com"),
		want:  `the CAA records at example.com (0 issue "other.example" and 1 more) do not let ca.example issue for www.example.com` + addCure,
	}, {
		name: "CAA for none", setUp: records("0 issue ;"),
		want: `the CAA record at example.com (0 issue ";") does not let ca.example issue for example.com` + addCure,
	}, {
		name: "malformed CAA", setUp: records("0 issue ca.example; policy"),
		want: `the CAA record at example.com (0 issue "ca.example; policy") does not let ca.example issue for example.com` + addCure,
	}, {
		name: "CAA for a wildcard", proof: wildcard, setUp: records("0 issue ca.example", "0 issuewild other.example"),
		want: `the CAA record at example.com (0 issuewild "other.example") does not let ca.example issue for *.example.com: ` +
			`add the record 0 issuewild "ca.example" there, or use a CA that is named`,
	}, {
		name: "CAA for another account", setUp: records("0 issue ca.example; accounturi=https://ca.example/account/2"),
		want: `the CAA record at example.com (0 issue "ca.example; accounturi=https://ca.example/account/2") lets ca.example issue for example.com ` +
			"with another account than https://ca.example/account/1: write this account's URL into the record, or use the account it names",
	}, {
		name: "CAA for two accounts in one record", setUp: records("0 issue ca.example; accounturi=https://ca.example/account/1; accounturi=https://ca.example/account/1"),
		want: `the CAA record at example.com (0 issue "ca.example; accounturi=https://ca.example/account/1; accounturi=https://ca.example/account/1") ` +
			"lets ca.example issue for example.com with another account than https://ca.example/account/1: " +
			"write this account's URL into the record, or use the account it names",
	}, {
		name: "CAA for other methods", setUp: records("0 issue other.example", "0 issue ca.example;validationmethods=dns-01,tls-alpn-01"),
		want: `the CAA record at example.com (0 issue "ca.example;validationmethods=dns-01,tls-alpn-01") does not let ca.example validate example.com by http-01: ` +
			"add http-01 to its validationmethods, or use a method it names",
	}, {
		name: "critical CAA", setUp: records("0 issue ca.example", "128 future \x1b[31m"),
		want: `the CAA record at example.com (128 future "\x1b[31m") is critical and of a kind that CAs do not know, so that none may issue for example.com: ` +
			"take the record away, or clear its flags",
	}, {
		name: "CAA before what else is wrong", setUp: func(w *world) {
			w.add("example.com", "A", "192.0.2.1")
			w.add("example.com", "CAA", "0 issue other.example")
		},
		want: `the CAA record at example.com (0 issue "other.example") does not let ca.example issue for example.com` + addCure,
	}, {
		name: "CAA behind what the CA complained of", failure: refusal(acme.ErrUnauthorized, "404"), setUp: func(w *world) {
			w.site(http.NotFoundHandler())
			w.add("example.com", "CAA", "0 issue other.example")
		},
		want: "port 80 of example.com at 192.0.2.1 is answered by another server or virtual host: it answers 404 Not Found: " + forwardCure,
	}}
	for i := range tests {
		if tests[i].cause = diagnose.CauseCAA; tests[i].failure != nil {
			tests[i].cause = diagnose.CauseOtherServer
		}
	}
	return withProof(tests, overHTTP)
}
