package diagnose

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/everseal/everseal/solver/internal/escape"
	"github.com/everseal/everseal/solver/internal/reach"
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
		v.Hops[len(v.Hops)-1].Error = escape.Text(err.Error(), 300)
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

// A notFollowedError says why a redirect is not followed.
type notFollowedError struct{ reason string }

func (e *notFollowedError) Error() string { return e.reason }

// connectOutcome tells how opening a connection failed.
func connectOutcome(err error) outcome {
	if _, ok := errors.AsType[*notFollowedError](err); ok {
		return outcomeNotFollowed
	}
	if _, ok := errors.AsType[*unresolvedError](err); ok {
		return outcomeUnresolved
	}
	if errors.Is(err, reach.ErrPrivate) {
		return outcomeNotVisited
	}
	if _, ok := errors.AsType[*reach.UnlocatedError](err); ok {
		return outcomeUnknown
	}
	switch {
	case isTimeout(err):
		return outcomeUnanswered
	case reach.IsUnroutable(err):
		return outcomeUnknown
	}
	return outcomeRefused
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout() || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}
