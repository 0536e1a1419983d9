//go:build !unix

package migrate

// nonBlocking is of no use on systems that have no FIFO in folders.
const nonBlocking = 0
