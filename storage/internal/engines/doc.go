// Package engines has the tests that are the same for every storage engine: linearizability, leases that go from process to
// process while some are killed, managers of several processes, and one table of benchmarks. An engine is one line in
// engines_test.go.
//
// Linearizability is judged over recorded histories: processes load, save and delete the same few keys, some through connections
// that are cut, and some are killed. What a call has answered must be explained by one order of all calls, in which each takes
// place between its start and its end. A call whose outcome nobody knows may have taken place at any time since, or never.
package engines
