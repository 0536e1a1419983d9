package dnsclient

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/everseal/everseal/solver/internal/reach"
)

// The bounds of one call of this package, to however many servers zones lead it.
const (
	maxSockets     = 40          // open at once, for the DNS
	maxTargets     = 100         // addresses of name servers that zones have named
	maxPackets     = 400         // datagrams and TCP connections to look things up, and
	packetInterval = time.Second // the time after which there may be one more
)

// A call is what one call of this package may ask of the DNS, and what it was told.
type call struct {
	private bool              // name servers may be inside wherever the CA is
	located reach.PrivateFunc // where the CA is, found out once
	locate  reach.PrivateFunc // that finds it out
	sockets chan struct{}     // has a value for each that is open
	targets *targets
	packets *packets // nil: not counted, for questions that are bounded otherwise
	answers *answers
}

// targets are the name servers that zones have led a call to.
type targets struct {
	mu    sync.Mutex
	known map[netip.AddrPort]bool // guarded by mu
}

// packets are those sent since the call begun.
type packets struct {
	begun time.Time
	mu    sync.Mutex
	sent  int // guarded by mu
}

// answers are those of the resolvers.
type answers struct {
	mu    sync.Mutex
	known map[Query]*Reply // guarded by mu
}

// ErrSpent reports that a server was not asked for want of packets.
var ErrSpent = errors.New("not asked, as there were too many questions already: do the zone's servers not answer, or does it lead through too many?")

// open takes one of the sockets and of the packets. What it returns gives the socket back.
func (c *call) open(ctx context.Context) (done func(), err error) {
	if c.packets != nil && !c.packets.take() {
		return nil, ErrSpent
	}
	select {
	case c.sockets <- struct{}{}:
		return func() { <-c.sockets }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Take reports whether one more may be sent.
func (p *packets) take() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sent >= maxPackets+int(time.Since(p.begun)/packetInterval) {
		return false
	}
	p.sent++
	return true
}

// caIsPrivate reports whether the CA is on a private network, if that is not said.
func (c *call) caIsPrivate(said bool) reach.PrivateFunc {
	if said {
		return func() (bool, error) { return true, nil }
	}
	return c.located
}

// admit returns why a name server that a zone has named is not to be asked, or nil.
func (c *call) admit(server netip.AddrPort) error {
	if err := reach.Check(server.Addr(), c.caIsPrivate(c.private)); err != nil {
		return err
	}
	c.targets.mu.Lock()
	defer c.targets.mu.Unlock()
	if !c.targets.known[server] && len(c.targets.known) == maxTargets {
		return fmt.Errorf("not asked, as zones have led to %d servers already", maxTargets)
	}
	c.targets.known[server] = true
	return nil
}

// answer returns the resolvers' answer if it is known.
func (c *call) answer(q Query) *Reply {
	c.answers.mu.Lock()
	defer c.answers.mu.Unlock()
	return c.answers.known[q]
}

// remember keeps an answer of the resolvers. Failures are not kept: a resolver that has failed once may have the answer
// a moment later.
func (c *call) remember(q Query, r *Reply) {
	c.answers.mu.Lock()
	defer c.answers.mu.Unlock()
	c.answers.known[q] = r
}
