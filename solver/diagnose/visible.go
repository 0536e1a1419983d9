package diagnose

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver/internal/challenge"
	"github.com/everseal/everseal/solver/internal/escape"
)

// Visible checks once whether the answer to p can be seen from there, as a CA does: with http-01 by a request to port 80
// of the identifier, following redirects to ports 80 and 443 without verifying certificates; with tls-alpn-01 by a
// handshake with port 443. It asks one address of a host ([Before] asks all), and gives up after ten seconds or
// when ctx ends.
//
// Without a Vantage.DNS, hosts are found as the system finds them, or by Vantage.Dial if that is set. If the CA's
// directory is on the Internet, what leads to this machine or to a private network is not asked (see Vantage.Private).
//
// The error says what was seen instead of the answer, and wraps the [Cause] of it if there is one: CauseNoALPN, or
// CausePrivateAddress if the identifier leads to where is not asked. It is no proof that the CA fails too: a network may
// show its own machines other addresses than the outside.
func Visible(ctx context.Context, p acme.Proof, from Vantage) error {
	switch p.Type {
	case acme.TypeHTTP01, acme.TypeTLSALPN01:
	case "":
		return errors.New("diagnose: the proof has no type of challenge")
	default:
		return fmt.Errorf("diagnose: a challenge of type %.60q is not answered by a host: Before checks it", p.Type)
	}
	p, err := challenge.Validate(p, p.Type)
	if err != nil {
		return fmt.Errorf("diagnose: %w", err)
	}
	v := visitOf(p)(ctx, p, from.connect(ctx, p))
	if v.outcome == outcomeRight {
		return nil
	}
	return &causeError{v.cause(), fmt.Errorf("diagnose: %s for %q%w", p.Type, p.Identifier, v.invisible())}
}

// visitOf returns what asks for the answer to p.
func visitOf(p acme.Proof) func(context.Context, acme.Proof, connectFunc) visit {
	if p.Type == acme.TypeHTTP01 {
		return visitHTTP
	}
	return visitTLS
}

// connect returns what opens connections to hosts by their names.
func (v Vantage) connect(ctx context.Context, p acme.Proof) connectFunc {
	c := v.client(ctx, p.DirectoryURL)
	private := c.CAIsPrivate(v.Private)
	if v.DNS == nil {
		return connectByName(v.Dial, private)
	}
	return (&connector{dns: c, dial: v.Dial, private: private}).connect
}

// A causeError is an error that is its cause too.
type causeError struct {
	cause Cause // empty: none
	err   error
}

func (e *causeError) Error() string { return e.err.Error() }

func (e *causeError) Unwrap() []error {
	if e.cause == "" {
		return []error{e.err}
	}
	return []error{e.err, e.cause}
}

// invisible says what was seen instead of the answer, as the end of an error's text.
func (v *visit) invisible() error {
	at := "the server"
	if v.Hops[0].Address != "" {
		at = v.Hops[0].Address
	}
	isTLS := v.Hops[0].Status == "" && v.port == "443" && len(v.Hops) == 1
	switch {
	case v.outcome == outcomeNoALPN:
		return fmt.Errorf(" at %s: %w: put solver.ALPNProto into its tls.Config.NextProtos, or use the TLSConfig of a certmanager.Manager", at, v.err)
	case v.outcome == outcomeWrong && isTLS:
		return fmt.Errorf(": %s answered with another certificate than the challenge's: %w", at, v.err)
	case v.outcome == outcomeWrong:
		return fmt.Errorf(": %w: let requests for %s* reach HTTP01.Handler", v.err, challenge.HTTP01Path)
	case isTLS && slices.Contains([]outcome{outcomeSilent, outcomeBroken, outcomeClientCertificate}, v.outcome):
		return fmt.Errorf(": the handshake with %s failed: %w", at, escape.Error(v.err))
	}
	return fmt.Errorf(" cannot be seen from here: %w", escape.Error(v.err))
}

// cause returns why the visit did not see the answer, or "" if that need not be so for a CA.
func (v *visit) cause() Cause {
	if missing, ok := errors.AsType[*net.DNSError](v.err); ok && len(v.Hops) == 1 {
		if missing.IsNotFound {
			return CauseNoAddress
		}
		return ""
	}
	switch v.outcome {
	case outcomeWrong:
		return CauseOtherServer
	case outcomeNoALPN:
		return CauseNoALPN
	case outcomeLoop:
		return CauseRedirectLoop
	case outcomeNotFollowed, outcomeUnresolved:
		return CauseRedirect
	case outcomeRefused:
		return CausePortClosed
	case outcomeUnanswered:
		return CausePortFiltered
	case outcomeSilent, outcomeBroken:
		return CauseBrokenServer
	case outcomeClientCertificate:
		return CauseClientCertificate
	case outcomeNotVisited:
		return CausePrivateAddress
	}
	return ""
}
