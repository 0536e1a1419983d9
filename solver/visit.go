package solver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/everseal/everseal/acme"
)

// visitTimeout is for how long a visit waits: a CA gives up after about as long.
const visitTimeout = 10 * time.Second

// An outcome is what a visit came to.
type outcome int

const (
	outcomeRight             outcome = iota
	outcomeWrong                     // an answer came, and is not the challenge's
	outcomeNoALPN                    // the TLS server refuses ALPNProto
	outcomeLoop                      // redirects without end
	outcomeNotFollowed               // a redirect that CAs do not follow
	outcomeUnresolved                // a redirect to a host without an address
	outcomeRefused                   // the connection was refused
	outcomeUnanswered                // the connection was not answered
	outcomeSilent                    // the connection was taken, and no answer came in time
	outcomeBroken                    // what came is not of the protocol
	outcomeClientCertificate         // the server turns away who shows no client certificate
	outcomeUnknown                   // this machine has no way there: it says nothing of the CA's
	outcomeNotVisited                // the address is not asked, as a CA on the Internet does not reach it
)

// A visit is a Visit with what it is judged by.
type visit struct {
	Visit
	outcome outcome
	port    string // of the last hop
	host    string // of the last hop
	back    string // with a loop, the URL that came again
	err     error  // nil with outcomeRight
	page    *page  // the last one that came; may be nil

	asksClient bool // the last server asked for a client certificate
}

// interrupt takes what failed while ctx ended for no sign of the server's.
func (v *visit) interrupt(ctx context.Context) {
	if !v.Right && ctx.Err() != nil {
		v.outcome = outcomeUnknown
	}
}

// fail notes why the visit failed.
func (v *visit) fail(o outcome, err error) {
	v.outcome, v.err = o, err
	if len(v.Hops) > 0 && o != outcomeWrong {
		v.Hops[len(v.Hops)-1].Error = escaped(inner{err}.Error(), 300)
	}
}

// failAnswer notes how a server failed that took the connection.
func (v *visit) failAnswer(err error) {
	switch {
	case isTimeout(err):
		v.fail(outcomeSilent, err)
	case v.asksClient:
		v.fail(outcomeClientCertificate, fmt.Errorf("it asks for a client certificate, which no CA has: %w", err))
	default:
		v.fail(outcomeBroken, err)
	}
}

// A connectFunc opens the connection for a hop, to a host, which may be an address, and a port. It returns
// the address it opened it to. from is the address that redirected there, invalid with the first hop.
type connectFunc func(ctx context.Context, host, port string, from netip.Addr) (net.Conn, netip.AddrPort, error)

// connectByName returns a connectFunc that leaves it to dial to find the address, and to decide whether it may be
// asked. Without a dial, what is not to be asked is kept out before the connection is opened.
func connectByName(dial dialFunc, private func() bool) connectFunc {
	return func(ctx context.Context, host, port string, from netip.Addr) (net.Conn, netip.AddrPort, error) {
		check := func(to netip.Addr) error {
			if !from.IsValid() {
				return checkAddress(to, private)
			}
			return redirectError(checkRedirectAddress(from, to, private))
		}
		open := dial
		if open == nil {
			open = (&net.Dialer{Control: func(_, address string, _ syscall.RawConn) error {
				to, err := netip.ParseAddrPort(address)
				if err != nil {
					return err
				}
				return check(to.Addr())
			}}).DialContext
		} else if to, err := netip.ParseAddr(host); err == nil && from.IsValid() {
			if err := redirectError(checkAddress(to, private)); err != nil {
				return nil, netip.AddrPort{}, err
			}
		}
		conn, err := open(ctx, "tcp", net.JoinHostPort(host, port))
		if err != nil {
			return nil, netip.AddrPort{}, err
		}
		addr, _ := netip.ParseAddrPort(conn.RemoteAddr().String()) // invalid if dial's connections are of another kind
		return conn, addr, nil
	}
}

// privateCA returns what reports whether the CA of a proof is on a private network, as the system's resolvers have it.
func privateCA(ctx context.Context, p acme.Proof) func() bool {
	d := new(DNS).during(ctx, p.DirectoryURL)
	return d.call.private
}

// A notFollowedError says why a redirect is not followed.
type notFollowedError struct{ reason string }

func (e *notFollowedError) Error() string { return e.reason }

// redirectError returns err as a notFollowedError, or nil.
func redirectError(err error) error {
	if err == nil {
		return nil
	}
	return &notFollowedError{err.Error()}
}

// connectOutcome tells how opening a connection failed.
func connectOutcome(err error) outcome {
	if _, ok := errors.AsType[*notFollowedError](err); ok {
		return outcomeNotFollowed
	}
	if _, ok := errors.AsType[*unresolvedError](err); ok {
		return outcomeUnresolved
	}
	if _, ok := errors.AsType[*scopeError](err); ok {
		return outcomeNotVisited
	}
	switch {
	case isTimeout(err):
		return outcomeUnanswered
	case isUnknownWay(err):
		return outcomeUnknown
	}
	return outcomeRefused
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout() || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}

// isUnknownWay reports whether it was this machine that had no way to send anything.
func isUnknownWay(err error) bool {
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
