// Package enginetest has what the tests of storage engines share that break connections and kill servers.
package enginetest
