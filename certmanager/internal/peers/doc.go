// Package peers tests everseal against real servers and clients, and measures it beside other libraries. It has no
// code of its own for programs, and is a module of its own so that what it needs stays out of everseal's go.mod.
//
// # The CA
//
// Each test starts Pebble, the test server of Let's Encrypt, from its Go packages: in this process, in strict mode,
// on a free loopback port, issuing from a root of its own. Its validations are real connections. A DNS server of the
// test's own tells Pebble that every name is at 127.0.0.1, and Pebble looks for answers at two ports, its "80" and
// "443", of which the test decides where they lead. What Pebble made (accounts, orders, certificates) is counted at
// Pebble, not believed from what the client says.
//
// # What is tested
//
//   - package acme alone: all that Pebble offers, from external accounts by each type of challenge to renewal
//     information; an order gone on with from each state; a connection cut at each request
//   - what other CAs are seen to answer, edited into Pebble's answers by a relay in front of it: one certificate from one
//     order, or an error that says why and no second order. The same table is tried against step-ca
//   - package certmanager: obtaining, on demand, renewal, restart, refusals, an outage, two managers in one process
//   - a server process that is killed at random moments and started again: one certificate in the end, and one at the CA
//   - DNS challenges by zones that BIND serves, edited by RFC 2136 with TSIG: delegation by CNAME, many orders at once,
//     a process killed while its record is there; Knot as a secondary that gets the zone late; lego's providers. The
//     zones are compared record by record before and after
//   - the library's own name server, with BIND as the parent zone that delegates to it and Unbound as the CA's resolver: one
//     process and three, of which one is killed; each on port 53 of an address of the loopback network, which takes root
//   - http-01 by nginx, which serves the answers as files while its workers are another user's; a process killed while
//     its file is there
//   - three server processes behind a balancer, with one storage
//   - moving in: certbot, lego, Caddy, dehydrated, CertMagic and autocert obtain certificates, and package migrate takes over what
//     they have: a manager serves it without one request, and renews it with the same account. What is in testdata was
//     made once by acme.sh, lego of version 5 and Traefik; see the README there. The programs must be installed where the
//     environment variable CI is set, and their tests are skipped without them elsewhere. Lego of version 5 is built, from the
//     module in folder lego5, where CI or EVERSEAL_LARGE_SERVERS=1 is set: that takes minutes
//   - curl and openssl as clients of a server whose certificate came from Pebble; these programs must be installed
//     where the environment variable CI is set, and their tests are skipped without them elsewhere
//
// # Other clients
//
// A client tested only with a CA of the same authors' may agree with it in error. So the clients of other libraries go
// the whole way at package acmetest: golang.org/x/crypto/acme, acmez and lego register (with external accounts too),
// obtain by http-01, tls-alpn-01 and dns-01, renew, revoke, change the account's key and deactivate it. What acmetest
// issues goes through zlint, which knows the rules for public CAs.
//
// Each library is a peer: an interface of what a client can do, which hides how differently they want to be asked. The
// benchmarks use the same ones.
//
// # Benchmarks
//
// BenchmarkGetCertificate asks everseal, CertMagic and autocert for a certificate through the very function that goes
// into a tls.Config, with a ClientHello as crypto/tls fills it in, for names at random; BenchmarkMapLookup is the floor
// under it, a Go map behind a function of the same signature:
//
//	go test -run '^$' -bench 'GetCertificate|MapLookup'
//
// BenchmarkIssue and BenchmarkIssueSlowCA have each client obtain certificates from Pebble, and count its requests. Both
// together take about ten minutes:
//
//	go test -run '^$' -bench Issue -benchtime 5x
package peers
