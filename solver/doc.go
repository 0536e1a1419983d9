// Package solver proves to a CA that a server controls the domain names and IP addresses it asks
// certificates for. Each solver implements [acme.Solver] for one type of challenge.
//
// # Which one
//
// [TLSALPN01] answers on port 443, in the TLS handshakes of the server that is there anyway: it needs
// no further port, but does not work behind a proxy that ends TLS itself. [HTTP01] answers on port 80,
// through the HTTP server that owns the port or with a listener of its own, and does work behind
// proxies that pass on plain HTTP. Both prove control of one domain name or one IP address (RFC 8738);
// wildcards need a DNS challenge.
//
// # How an answer gets to the CA
//
//	order --> Present --> storage --> HTTP01.Handler            --> CA
//	                              \-> TLSALPN01.GetCertificate  -/
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
// # What is stored
//
// The keys of records are stable, so that versions of this package can share a storage:
//
//	challenges/http-01/<SHA-256 of the token, in lower-case hexadecimal>
//	challenges/tls-alpn-01/<identifier, as acme.ParseIdentifier writes it>
//
// A record is a JSON object with token, keyAuthorization, identifier, directoryURL and created, the
// time of its creation in UTC. None of it is secret: a CA is answered with it in the open.
//
// # What the network can ask for
//
// Only pending challenges are answered, and nothing of a request is reflected. A token must be
// base64url of at most 256 bytes; a server name must be a domain name in A-labels, or the reverse name
// of an IP address. What is neither never reaches the storage, what is either costs one Load of one
// key. A failing storage is told from an unknown token: HTTP01 answers 503, TLSALPN01 fails the
// handshake.
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
package solver
