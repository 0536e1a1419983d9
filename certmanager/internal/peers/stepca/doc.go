// Package stepca tests everseal against step-ca, the CA of Smallstep that private networks run. It has no code of its
// own for programs. It is a module apart from the tests against other peers, for step-ca takes minutes to build: what
// it needs, some 650 packages, is built only where these tests are run.
//
// # The CA
//
// Each test starts step-ca from its Go packages: in this process, with one provisioner for ACME, on a free loopback
// port, issuing from a root and an intermediate of its own, with its database in the test's temporary folder. Its
// validations of http-01 and tls-alpn-01 are real connections, though not to where the names lead: its ports 80 and
// 443 lead to whatever servers the test starts, and TXT records are those that the test sets. What it made (accounts,
// orders, certificates) is counted in its database, and what it was asked in front of it.
//
// # What is different about it
//
// step-ca validates while it answers the request that accepts a challenge, so its answer tells the outcome. Where an
// answer was there and wrong, the challenge becomes invalid, but the authorization and the order stay pending until
// they expire. Where none was there (a refused connection, no such TXT record) the challenge stays pending with an
// error, and nothing happens until it is accepted once more. A client that waits for the order alone waits in vain in
// both cases.
//
// It has no key change, no deactivation of authorizations, no renewal information and no profiles. Problem documents
// lack their status, the list of an account's orders is a bare array, and with external accounts whatever is wrong is
// called an internal error.
//
// # What is tested
//
//   - package acme: accounts, external accounts, orders by each challenge, failed validations, revocation, what the CA
//     lacks, and device-attest-01, whose answer is sent instead of put in place
//   - what other CAs are seen to answer, edited into this one's answers by a relay in front of it
//   - package solver: the answers, as this CA reads them
//   - package certmanager: a manager that obtains, serves and renews
package stepca
