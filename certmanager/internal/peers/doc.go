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
//   - package acme alone: accounts, external accounts, orders by each challenge, an order gone on with from each state
//   - package certmanager: obtaining, on demand, renewal, restart, refusals, an outage, two managers in one process
//   - a server process that is killed at random moments and started again: one certificate in the end, and one at the CA
//   - curl and openssl as clients of a server whose certificate came from Pebble; these programs must be installed
//     where the environment variable CI is set, and their tests are skipped without them elsewhere
//
// # Benchmarks
//
// BenchmarkGetCertificate asks everseal, CertMagic and autocert for a certificate through the very function that goes
// into a tls.Config, with a ClientHello as crypto/tls fills it in, for names at random; BenchmarkMapLookup is the floor
// under it, a Go map behind a function of the same signature:
//
//	go test -run '^$' -bench 'GetCertificate|MapLookup'
package peers
