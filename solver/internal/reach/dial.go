package reach

import (
	"context"
	"errors"
	"net"
	"syscall"
)

// DialFunc is the type of net.Dialer.DialContext.
type DialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// Dialer returns dial, or in place of nil that of a net.Dialer.
func Dialer(dial DialFunc) DialFunc {
	if dial == nil {
		return new(net.Dialer).DialContext
	}
	return dial
}

// IsUnroutable reports whether it was this machine that had no way to send anything.
func IsUnroutable(err error) bool {
	// On Windows, package syscall has these names for numbers of its own, and the system gives the others.
	for _, errno := range []syscall.Errno{
		syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.EADDRNOTAVAIL, syscall.EAFNOSUPPORT, 10051, 10065, 10049, 10047,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
