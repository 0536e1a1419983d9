package solver

import (
	"context"
	"fmt"
	"net"
	"time"
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

// A peerError is an error in whose text a server's words may stand at any length; crypto/tls and
// net/http quote them, and it cuts them off.
type peerError struct{ err error }

func (e peerError) Error() string { return fmt.Sprintf("%.300s", e.err.Error()) }

func (e peerError) Unwrap() error { return e.err }
