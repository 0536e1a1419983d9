// Package diagnose says why a CA does not see the answer to a challenge, and what to do about it. A failed validation
// costs one of few attempts that a CA grants an hour: [Before] says whether one would fail, [After] why one has failed.
// [Visible] checks no more than whether a server's answer can be seen.
//
// # From a failure to its cause
//
//	proof, vantage --> evidence: Visits, Lookups --> judgement --> Cause, Reason, Cure
//	the CA's words ---------------------------------/
//
// Before and After ask for all that a CA asks for. With http-01 and tls-alpn-01 these are the addresses of the name, by
// the resolvers and by the authoritative servers of its zone, and the answer at each of them, over redirects. With the DNS
// challenges it is the TXT record at each authoritative server. With all, these are the CAA records up the tree
// (RFC 8659). What was seen is the evidence, and stands in the [Report].
//
// The evidence is judged from the general to the particular: whether the name can be looked up at all, whether CAA lets
// the CA issue, what was seen in place of the answer. The first that explains a failure is the [Cause]. What a server
// sends tells whose it is: a content delivery network, a firewall, the server's own other virtual host. If the CA has
// complained of something, that comes first; and if all is right from here, what the CA says in its [acme.Problem] tells
// what differs for it, such as an old address, or a firewall that lets only some networks in.
//
// A Report is one sentence of cause and one of cure. Text in it that came from the network is bounded and escaped. The
// causes are on a page, certmanager/failures.md.
//
// # From where
//
// A [Vantage] says from where it is asked, and for whom. If names lead elsewhere from here than from the Internet, as
// behind a router, its DNS and Dial say whom to ask and how to get there. A test with servers on loopback leads there by
// the same fields, from addresses of the Internet, or sets Private.
//
// Whoever has a name may have it lead anywhere. What a public CA would not visit is not visited either: loopback,
// link-local and private addresses, be it of a web server, of a name server or of a redirect's target, unless the CA is on
// a private network itself. That is so if its directory is at such an address, or if Vantage.Private says it.
package diagnose
