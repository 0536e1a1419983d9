package solver

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// dialFunc is the type of net.Dialer.DialContext.
type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

func dialer(dial dialFunc) dialFunc {
	if dial == nil {
		return new(net.Dialer).DialContext
	}
	return dial
}

// A peerError is an error in whose text the words of a server or a program may stand. It cuts them off, and
// escapes what does not print.
type peerError struct{ err error }

func (e peerError) Error() string {
	quoted := strconv.Quote(fmt.Sprintf("%.300s", e.err.Error()))
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

func (e peerError) Unwrap() error { return e.err }

// An inner error is a part of another: its text lacks the package's name, which the whole begins with.
type inner struct{ error }

func (e inner) Error() string { return strings.TrimPrefix(e.error.Error(), "solver: ") }

func (e inner) Unwrap() error { return e.error }
