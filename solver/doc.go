// Package solver proves to a CA that a server controls the domain names and IP addresses it asks certificates for. Each
// solver implements [acme.Solver] for one type of challenge; package diagnose says why a proof failed, or would fail.
//
// Which one to take says challenges.md, what proxies and CDNs do to them proxies.md, and what a CA sees validation.md.
//
// # By the server itself
//
// [TLSALPN01] answers on port 443, in the TLS handshakes of the server that is there anyway. It does not work behind a
// proxy that ends TLS itself. [HTTP01] answers on port 80, through the server that owns the port or with a listener of
// its own, also behind proxies that pass on plain HTTP. [Webroot] leaves the answer to another server, such as nginx, as
// a file. All prove control of one domain name or one IP address (RFC 8738).
//
//	order --> Present --> storage --> HTTP01.Handler            --> CA
//	                              \-> TLSALPN01.GetCertificate  -/
//	               \-> file in a document root --> nginx -------/
//
// Present writes the answer into a [storage.Store], and the serving side reads it from there when a CA asks: any machine
// of a fleet, or a process that was started again. Without a Storage, a solver keeps answers in its own memory; WithStorage
// gives one to a solver that has none.
//
// # By DNS
//
// Wildcards need a DNS challenge, and so do servers that the Internet does not reach. [DNS01] creates a record for each
// order. [DNSAccount01] does the same at a name of the account's own, for domains that several clients or CAs prove at
// the same time. [DNSPersist01] rests on one record that stays; whoever has the account's key can then have certificates
// for the domain. CAs offer dns-01 everywhere, the other two are new.
//
//	order --> Present --> storage                 CleanUp --> storage
//	             \------> Provider --> zone          \------> Provider --> zone
//	                                    \--> every authoritative server --> Wait --> CA
//
// Present finds the zone, notes in the storage what it is about to create, and has a [Provider] create it. Wait asks
// each authoritative server until all have the record, as [Propagation] says, or fails with a [*PropagationError].
// [DNS] says how servers are asked. With FollowCNAME, challenges can be delegated to another zone:
//
//	_acme-challenge.example.com.  CNAME  example-com.validation.example.net.
//
// Any DNS provider of libdns is made a Provider by github.com/everseal/everseal/solver/libdns, a module of its own; any
// of lego is made a solver by [LegoV5]. [Exec] runs a program, [Webhook] calls a service, and [Responder] needs neither.
//
// # Validation zones
//
// [Responder] is a Provider that edits no DNS service: it is the name server of zones in which nothing is but challenges. The
// parent zone, at the service that has it today, gets NS records once. For one domain, and its wildcard, these are
//
//	_acme-challenge.example.com.  NS     ns1.example.com.
//	ns1.example.com.              A      192.0.2.1
//
// with Zones "_acme-challenge.example.com" and Nameservers "ns1.example.com". For many domains, also of customers who keep
// their DNS where it is, there is one zone, and each domain gets a CNAME into it, to any name there that is its own:
//
//	acme.example.net.                       NS     ns1.example.net.
//	acme.example.net.                       NS     ns2.example.net.
//	_acme-challenge.customer.example.       CNAME  customer.example.acme.example.net.
//
// with Zones "acme.example.net", both name servers in Nameservers, and FollowCNAME set in DNS01, which leaves Zone empty: it finds
// both, the name of the record and its zone, by the DNS, as the CA does. Whoever sets the CNAME agrees that you have certificates for
// the domain: which of your users the domain belongs to is yours to check. A name server's own name is best outside the zone; that of one within it, such as ns1.acme.example.net, needs Addresses, and the same addresses as glue in the parent zone.
//
// Members on one Storage answer alike. So Propagation.Quorum 1 is enough, and spares the wait for a member that is down, which
// a CA's resolver passes over as well. A machine that doesn't reach its own public address needs Propagation.Recursive.
//
// To check it: the first command is answered with "status: NOERROR", the flag aa and an SOA record, also from elsewhere on the
// Internet, by UDP and with +tcp; the second, by any resolver, with the NS records of the parent zone; the third shows the CNAME.
//
//	dig @ns1.example.net acme.example.net SOA
//	dig acme.example.net NS
//	dig _acme-challenge.customer.example TXT
//
// # What a CleanUp deletes
//
// What belongs to the [acme.Proof], from that alone: also after a crash, and in another process. An answer that a newer
// order has published under the same key stays, and so does a record that somebody else has created.
//
// # What is stored
//
// The keys of records are stable, so that versions of this package can share a storage. The values are JSON objects. None
// is secret: a CA is answered with it in the open.
//
//	challenges/http-01/<SHA-256 of the token, in lower-case hexadecimal>
//	challenges/tls-alpn-01/<identifier, as acme.ParseIdentifier writes it>
//	challenges/dns-01/<SHA-256 of the name that the CA asks for, in lower-case hexadecimal>
//	challenges/responder/<SHA-256 of a record's name, a space and its value, in lower-case hexadecimal>
package solver
