package solver

import (
	"context"
	"net"

	"github.com/everseal/everseal/solver/internal/dnsclient"
)

// DNS says how to ask the Domain Name System. The zero value, and a nil *DNS, ask as the system does.
//
// Answers are matched to their questions, and bounded. Whoever has a zone may write into it any name servers and CNAMEs:
// of name servers, those that a public CA does not reach are not asked either (see Private), and how many servers are
// asked, and how often, is bounded for each call of a solver.
//
// It is safe for concurrent use; its fields must not be changed after its first use.
type DNS struct {
	// Resolvers are the recursive resolvers, as IP addresses or host names, each with or without a port:
	// "192.0.2.1", "[2001:db8::1]:5353", "fe80::1%eth0". If the first gives no answer, the others are
	// asked. Empty: those that the system is configured with.
	Resolvers []string

	// Dial opens the connections to resolvers and to authoritative servers. The network is "udp" or "tcp",
	// the address a host and a port. Nil: a [net.Dialer] does. A split-horizon set-up, or a test, leads
	// addresses elsewhere by it. It is called for an address that a zone has named only if Private lets it be
	// asked; where it leads from there is its own matter.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Private says that zones may have their name servers on private networks and on this machine, as they do
	// if the CA is on a private network itself: at such addresses they are asked also without it if the
	// CA's directory is at one. Otherwise only name servers on the Internet are asked. Resolvers may be anywhere.
	Private bool
}

// client returns what asks so, in one call on behalf of the CA at a directory; ctx is the call's.
func (d *DNS) client(ctx context.Context, directory string) *dnsclient.Client {
	return dnsclient.New(ctx, (*dnsclient.Settings)(d), directory)
}

// over returns what a solver with a DNS of its own, or nil, asks by if its caller asks by given: own, but as Private as
// that; without one of its own, given.
func over(own, given *DNS) *DNS {
	switch {
	case own == nil:
		return given
	case given == nil || !given.Private || own.Private:
		return own
	}
	private := *own
	private.Private = true
	return &private
}
