package solver

import (
	"context"
	"fmt"
	"time"
)

// A Propagation says when a record counts as spread, so that a CA can be told to validate. The zero value asks
// every authoritative server of the zone until all have it, and then goes at once.
//
// A server is an address: a host with an IPv4 and an IPv6 address counts as two. The servers are asked side
// by side; what one fails to do holds up no other, and one that had the record is not asked again. CNAMEs
// are followed as a CA follows them, and the zone, its servers and the CNAMEs are looked up again now and
// then. At most 24 servers are asked, some of each name.
type Propagation struct {
	// Off leaves out the check. Delay is waited for still.
	Off bool

	// Recursive asks DNS.Resolvers rather than the authoritative servers. It is for networks that let no DNS
	// out but to their resolvers. A resolver that was asked too early keeps saying for a while that there is
	// no such record: for as long as the zone's SOA record says (RFC 2308 §5).
	Recursive bool

	// Quorum is how many servers must have the record; of a zone with fewer, all of them must. Zero: all
	// that can be asked. That leaves out, once any other server has the record, one that this machine has no
	// route to (such as IPv6 on a host without it), whose name has no address or one that no public CA reaches
	// (see DNS.Private), and one that in 15 seconds and two tries has not given a single answer from the zone: a
	// CA's resolver passes over it too. One that answered before, without the record, is never left out.
	Quorum int

	// Delay is waited for after the record was seen, on top.
	Delay time.Duration

	// Timeout is for how long the record is checked for. Zero: five minutes.
	Timeout time.Duration

	// Interval lies between two questions to one server. Zero: two seconds, growing to ten.
	Interval time.Duration
}

const (
	propagationTimeout = 5 * time.Minute
	firstInterval      = 2 * time.Second
	maxInterval        = 10 * time.Second
	reconsiderInterval = 30 * time.Second // until it is first looked up again which servers there are

	maxReconsiderInterval = 5 * time.Minute
	unusableServerPeriod  = 15 * time.Second // as Propagation.Quorum says
	unusableServerTries   = 2

	toldPeriod = 10 * time.Second // until a wait is logged
)

// waitFor returns once servers enough have the record, and Delay has passed. If ctx or Timeout ends it, the error is a
// *PropagationError.
func (p *Propagation) waitFor(ctx context.Context, s *spread) error {
	if !p.Off {
		s.propagation, s.findings = p, make(chan func())
		if err := s.check(ctx); err != nil {
			return err
		}
	}
	if err := pause(ctx, p.Delay); err != nil {
		return fmt.Errorf("solver: the delay after the record %.260q was not waited for: %w", s.name, err)
	}
	return nil
}

// pause returns after d, or when ctx ends, with the reason.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// next returns the interval that follows one; zero stands for none yet.
func (p *Propagation) next(interval time.Duration) time.Duration {
	switch {
	case p.Interval > 0:
		return p.Interval
	case interval == 0:
		return firstInterval
	}
	return min(interval*3/2, maxInterval)
}
