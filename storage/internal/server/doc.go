// Package server starts the servers that the tests of storage engines talk to: each is a process of its own, on a port of
// 127.0.0.1 and with its data in a temporary folder.
//
// A program is one that is installed ([New]) or one that is built from a module of this repository ([Build]). Where it is
// missing, [Skip] skips the test on a user's machine and fails it in CI, which installs everything.
//
// Tests that can share a server have a [Shared], whose servers TestMain stops. A [Cutter] between a store and its server
// breaks connections.
package server
