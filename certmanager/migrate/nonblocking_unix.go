//go:build unix

package migrate

import "syscall"

// nonBlocking has a FIFO opened, that came in place of a regular file, without waiting for who writes to it.
const nonBlocking = syscall.O_NONBLOCK
