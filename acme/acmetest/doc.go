// Package acmetest provides a CA for tests: a server that speaks ACME (RFC 8555) and issues
// certificates that nobody but the test trusts, in the manner of [net/http/httptest].
//
//	ca := acmetest.NewServer()
//	defer ca.Close()
//	ca.SetHost("*", "127.0.0.1:5002")
//
//	client := &acme.Client{DirectoryURL: ca.URL, HTTPClient: ca.Client(), Key: key}
//
// It is a real CA but for its root. What it is sent it verifies as strictly as public CAs do, or more
// so: signatures, nonces, URLs, keys, identifiers, CSRs, whose account a resource belongs to. It
// validates by connecting to the server that a certificate is for. A client that gets a certificate
// here has done what it must; one that errs gets the problem document that RFC 8555 has for the error.
//
// # What is refused
//
// What Boulder, the software of Let's Encrypt, or Pebble refuses is refused here: a Content-Type with parameters, a
// POST in chunks, more than 50 kB, an algorithm that is not that of the key or its curve; keys but RSA of
// 2048, 3072 and 4096 bits with the exponent 65537 and curves but P-256 and P-384, RSA keys that are weak, and
// the key of a certificate that was revoked with it; CSRs signed with anything but SHA-2 and PKCS #1 or ECDSA, with a
// common name of more than 64 bytes or with must-staple; names of more than ten labels, public suffixes and
// wildcards right below them; multicast, unspecified, link-local and reserved addresses; more than two contacts.
//
// Tests need some of what these refuse, and have it: names with one label, such as localhost, and names that end in
// no known top-level domain, such as .test, .example and .internal; loopback and private addresses and those for
// documentation; contacts at example.com; notBefore and notAfter in orders. CAA is not checked.
//
// # Where names lead
//
// [Server.SetHost] is a table of names and addresses, [Server.SetTXT] one of TXT records, and a name that is not in
// them does not exist: there is no DNS, unless [Server.Resolver] says where. By the table all names can lead to one server
// of the test's on whatever port it got:
//
//	ca.SetHost("*", web.Listener.Addr().String())
//	ca.SetHost("unreachable.example.com", "127.0.0.1:1")
//
// http-01, tls-alpn-01 and dns-01 are offered for domain names, dns-01 for wildcards, and http-01 and
// tls-alpn-01 for IP addresses (RFC 8738). Connections are made with [Server.Dial].
//
// # Other challenges
//
// [Server.Challenges] says what is offered if it is not those three: dns-account-01, and dns-persist-01 in
// the format of older drafts or, with [Server.HashedAccounts], in that of the newer ones. Both are looked
// for in the table of TXT records. Types that the server knows nothing of, with a payload and without a
// token, can be offered with a function that validates them:
//
//	ca.OtherChallenges = map[string]acmetest.OtherChallenge{
//		"device-attest-01": {Validate: func(payload []byte) error { … }},
//	}
//
// With [Server.SubdomainAuthorizations] the proof for a domain can do for those below it (RFC 9444): if it
// was made in advance, by newAuthz with subdomainAuthAllowed, or if an order names the domain as the
// ancestorDomain of a name. The authorization is then for the ancestorDomain itself, and by DNS.
//
// # On a socket and in memory
//
// [Server.Start] listens on a loopback port, or at [Server.Addr]. [Server.StartInMemory] does not listen:
// [Server.Client] then calls the server directly, and URL is the same each time. A [Network] is for the other
// direction, from the CA to the server under test: with both a whole issuance runs within one process, so that a
// test in a bubble of [testing/synctest] can let months of renewals pass in a second:
//
//	synctest.Test(t, func(t *testing.T) {
//		var network acmetest.Network
//		listener, err := network.Listen("tcp", ":80")
//		…
//		go web.Serve(listener) // which answers http-01
//		defer web.Close()
//
//		ca := acmetest.NewUnstartedServer()
//		ca.Dial = network.DialContext
//		ca.SetHost("*", "192.0.2.1")
//		ca.StartInMemory()
//		defer ca.Close()
//		…
//	})
//
// What is used in a bubble must be made there, because certificates follow the bubble's clock, and closed there,
// so that its goroutines end.
//
// # Orders from beginning to end
//
// An order is made with a pending authorization for each of its identifiers, unless its account holds a
// valid one that was made in advance, by newAuthz (RFC 8555 §7.4.1); those from earlier orders are taken
// over with [Server.ReuseAuthorizations] only. Accepting a challenge begins a validation in the
// background, which takes ten seconds at most. The first challenge of an authorization to succeed or fail
// decides it; a failed one makes the order invalid, and its error has a subproblem for each identifier
// that failed. Once all authorizations are valid the order is ready. A CSR that is refused leaves it so. A
// good one makes it "processing", always, and valid a moment later: clients have to poll. Authorizations
// expire after seven days, and an order with the first of its authorizations.
//
// An account finds its orders again in its list of them, by pages of [Server.OrdersPerPage], and can
// change its key: challenges are to be answered with the one that it has when it accepts them.
//
// What certificates last is set by [Server.Lifetime], or by the one of [Server.Profiles] that the order
// asks for; an order can ask for less. With [Server.AlternateChains] there are several chains for each
// certificate, and links from one to the others. What is issued is kept in memory and can be inspected:
// [Server.Certificates], [Server.Orders], and for the number of requests that a client needed,
// [Server.Requests].
//
// # After the issuance
//
// A certificate is revoked by its account, by any account with valid authorizations for all its names, or
// by its own key (RFC 8555 §7.6). [Server.Revoked] tells what became of it.
//
// Everybody can ask when a certificate should be renewed (RFC 9773). The answer is a short window about
// two thirds into its lifetime, and one in the past once it is revoked; [Server.SetRenewalInfo] moves it,
// as a CA does that must revoke many certificates soon:
//
//	ca.SetRenewalInfo(leaf.SerialNumber, acmetest.RenewalInfo{
//		Start:          time.Now().Add(-time.Hour),
//		End:            time.Now(),
//		ExplanationURL: "https://example.com/incident",
//	})
//
// An order can say that it replaces a certificate of its account with which it shares a name. From then
// on, unless it becomes invalid, another order for the same replacement is refused as alreadyReplaced.
//
// # What goes wrong
//
// A [Fault] is a handler around the CA. [Server.SetFaults] sets faults, at any time, and without
// arguments takes them away:
//
//	ca.SetFaults(
//		acmetest.On("newOrder", acmetest.Next(2, ca.RateLimited("30"))),
//		acmetest.On("finalize", acmetest.Next(1, acmetest.CutAnswer())),
//		acmetest.Share(0.5, ca.BadNonce()),
//	)
//
// [On], [Next] and [Share] choose the requests, and can be put into each other; [All] makes one fault of
// several. The faults themselves are
// functions for what lies between the client and the CA:
//
//   - [Answer]: it answers instead of the CA;
//   - [Delay], [DelayAnswer]: it is slow, before or after the CA has acted;
//   - [Cut], [CutAnswer], [CutBody]: the connection ends, before, after, or within the answer;
//   - [Oversized], [RelativeURLs], [WithHeader], [WithoutHeader]: the answer is changed, as [Edit] can do
//     in any way.
//
// They are methods for what the CA itself does wrong:
//
//   - [Server.Problem], [Server.RateLimited], [Server.BadNonce]: it refuses;
//   - [Server.Processing], [Server.Invalidate], [Server.FailIssuance]: orders take another way than usual;
//   - [Server.Misissue]: a certificate is not what was asked for.
//
// Validations fail by the tables of hosts and records, and any n of them by [Server.FailValidations]. Renewal
// windows that make no sense, in the past or with their end first, are set by [Server.SetRenewalInfo]. All
// faults are the same on a socket and in memory; in a bubble a delay takes no real time.
//
// # Rate limits
//
// By [Server.RateLimits] the CA counts accounts, orders, certificates and failures in token buckets, and
// refuses what is too much as Let's Encrypt does, with the time at which to come back. In a bubble that time
// can pass:
//
//	ca.RateLimits = acmetest.LetsEncryptLimits()
//	ca.RateLimits.NewOrders = acmetest.Limit{Count: 2, Per: time.Hour}
//
// # A CA that outlives its process
//
// A test that restarts the program under test, or a demonstration that is started again, can keep the
// CA: what Root holds after the start, put into Root of the next server, gives certificates that the
// same root verifies, and the accounts that [Server.OnAccount] was given, put into Accounts, are known
// again under the same key, and at the same [Server.Addr] by the same URL. Orders, certificates and alternate roots
// are not kept. The command examples/acmetest is such a CA for programs in any language.
package acmetest
