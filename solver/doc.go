// Package solver proves to a CA that a server controls the domain names and IP addresses it asks
// certificates for. Each solver implements [acme.Solver] for one type of challenge; [Diagnose] says why a
// proof failed, or would fail.
//
// # Which one
//
// [TLSALPN01] answers on port 443, in the TLS handshakes of the server that is there anyway: it needs
// no further port, but does not work behind a proxy that ends TLS itself. [HTTP01] answers on port 80,
// through the HTTP server that owns the port or with a listener of its own, and does work behind
// proxies that pass on plain HTTP. [Webroot] leaves the answer of http-01 to another server, such as nginx, as a
// file below its document root. All prove control of one domain name or one IP address (RFC 8738).
//
// Wildcards need a DNS challenge, and so do servers that the Internet does not reach. [DNS01] creates a
// record for each order and deletes it afterwards. [DNSAccount01] does the same at a name of the account's
// own, for domains that several clients or CAs prove at the same time, each with its own delegation.
// [DNSPersist01] rests on one record that stays, so that renewals need no access to the zone; whoever has
// the account's key can then have certificates for the domain. CAs offer dns-01 everywhere, the other two
// are new.
//
// # How an answer gets to the CA
//
//	order --> Present --> storage --> HTTP01.Handler            --> CA
//	                              \-> TLSALPN01.GetCertificate  -/
//	               \-> file in a document root --> nginx -------/
//
// Present writes one record into a [storage.Store], and the serving side reads it from there when a CA
// asks. The two need not be in one process: a CA may ask any machine of a fleet, or the machine on
// which a killed process was started again, and gets the answer wherever the storage is shared.
// Without a Storage, a solver keeps answers in its own memory; presenting and serving is then up to
// one and the same value.
//
// CleanUp deletes the record, from the [acme.Proof] alone. By compare-and-swap it deletes only what
// belongs to the proof: an answer that a newer order has put in its place stays.
//
// # By DNS
//
//	order --> Present --> storage                 CleanUp --> storage
//	             \------> Provider --> zone          \------> Provider --> zone
//	                                    \--> every authoritative server --> Wait --> CA
//
// Present finds the zone by its SOA record, notes in the storage what it is about to create, and has a
// [Provider] create it, beside other values at the same name: those of a wildcard and its base name, or of
// two orders at once. Wait asks each authoritative server until all have the record, as [Propagation] says;
// a timeout is a [*PropagationError] that names the servers without it and what they said. CleanUp deletes
// what the storage says was created for the proof, and nothing else: also after a crash, in another
// process, and where the zone was set up anew meanwhile.
//
// A zone that a server should have no access to can delegate its challenges to another, by a CNAME:
//
//	_acme-challenge.example.com.  CNAME  example-com.validation.example.net.
//
// With FollowCNAME the record is created where that leads. A CNAME that a wildcard stands for is told from
// one that was set, and not followed. Where one is in the way and FollowCNAME is not set, the error says so.
//
// # Providers
//
// A Provider has two methods, to append a record and to delete one. For the services there are:
//
//   - [LegoV4] and [LegoV5], which make a solver of any DNS provider of lego, as it is;
//   - package github.com/everseal/everseal/solver/libdns, a module of its own, which makes a Provider of any
//     libdns provider;
//   - [Exec], for a program of one's own, or the scripts of acme.sh;
//   - [Webhook], for a service of one's own that speaks as lego's provider httpreq;
//   - a type of one's own with the two methods.
//
// The token for Cloudflare's API, which may edit the zone's DNS, goes with libdns to
//
//	dns01 := &solver.DNS01{Provider: libdns.New(&cloudflare.Provider{APIToken: token})}
//
// and with lego to
//
//	config := cloudflare.NewDefaultConfig()
//	config.AuthToken = token
//	provider, err := cloudflare.NewDNSProviderConfig(config)
//	…
//	dns01 := solver.LegoV5(provider)
//
// The libdns way is to be preferred where both lego and libdns know a service: a Provider follows CNAMEs as
// told, serves all three types of challenges, and cleans up in any process.
//
// Several zones with different providers take a DNS01 each, with Zone set: each supports the names in
// its zone only.
//
// # What is stored
//
// The keys of records are stable, so that versions of this package can share a storage:
//
//	challenges/http-01/<SHA-256 of the token, in lower-case hexadecimal>
//	challenges/tls-alpn-01/<identifier, as acme.ParseIdentifier writes it>
//	challenges/dns-01/<SHA-256 of the name that the CA asks for, in lower-case hexadecimal>
//
// The first two are a JSON object with token, keyAuthorization, identifier, directoryURL and created, the
// time of its creation in UTC. The third, for dns-01 and dns-account-01, is an object whose array records has
// an object for each TXT record that was created for challenges at the name: zone, name and value, ttl in
// nanoseconds, and created. It is there before the TXT record is, and until that is deleted. What a provider
// failed to delete stays in it, and is tried again by the first CleanUp at the name after a week. None of
// this is secret: a CA is answered with it in the open.
//
// # What the network can ask for
//
// Only pending challenges are answered, and nothing of a request is reflected. A token must be
// base64url of at most 256 bytes; a server name must be a domain name in A-labels, or the reverse name
// of an IP address. What is neither never reaches the storage. What is either costs at most one Load of
// one key, shared by all who ask for it at the time, and the loads that find nothing are bounded: scanners
// cost no more than that, however fast they ask. What several networks ask for, as CAs do, comes before what one
// asks for; behind a proxy that hides them, all are one. A failing storage is told from an unknown token: HTTP01
// answers 503, TLSALPN01 fails the handshake.
//
// Answers of DNS servers are matched to their questions, and bounded. Names from them are given to a
// Provider only if they are made of letters, digits, hyphens and underscores.
//
// Whoever has a zone may write into it any name servers, addresses and CNAMEs. What a public CA would not visit is not
// visited either: loopback, link-local and private addresses, be it of a web server, of a name server or of a
// redirect's target, unless the CA is on a private network itself. That is so where its directory is at such an
// address, or where [Vantage] or [DNS] say it by Private. How many servers are asked, and how often, is bounded for
// each call.
//
// # In a tls.Config of one's own
//
// crypto/tls settles the application protocol before it asks for a certificate. So NextProtos must
// have [ALPNProto] beside the server's own protocols, and GetCertificate must ask the solver first:
//
//	GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
//		if solver.IsChallenge(hello) {
//			return tlsALPN01.GetCertificate(hello)
//		}
//		return ownCertificate(hello)
//	},
//
// A server that takes connections from several configurations, by GetConfigForClient, needs both in
// each of them.
//
// # Looking before the CA does
//
// A failed validation costs one of few attempts that a CA grants an hour. The Check methods look at the
// outside of a server first and say what they see there, such as another server's page, a closed port
// or a TLS configuration without ALPNProto.
//
// [Diagnose] looks at all that a CA looks at: the addresses of a name and what answers at each of them, the
// TXT record at each authoritative server, and CAA records up the tree. Before the CA is asked it tells
// whether the answer can be seen; afterwards, given what the CA said, it tells why not. A [Report] is one
// sentence of cause and one of cure, with the evidence for them.
//
// Where names lead elsewhere from here than from the Internet, [DNS] and the fields Dial say whom to ask and
// how to get there. A test with servers on loopback leads there by the same fields, from addresses of the
// Internet, or sets Private.
package solver
