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
// of lego is made a solver by [LegoV5]. [Exec] runs a program, and [Webhook] calls a service.
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
package solver
