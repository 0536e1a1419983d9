package solver

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"
	"unicode"
)

// checkTimeout is for how long a check waits: a CA gives up after about as long.
const checkTimeout = 10 * time.Second

// dialFunc is the type of net.Dialer.DialContext.
type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

func dialer(dial dialFunc) dialFunc {
	if dial == nil {
		return new(net.Dialer).DialContext
	}
	return dial
}

// A peerError is an error in whose text there may be words of a server, at any length and with any
// control characters.
type peerError struct{ err error }

func (e peerError) Error() string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, fmt.Sprintf("%.300s", e.err.Error()))
}

func (e peerError) Unwrap() error { return e.err }
