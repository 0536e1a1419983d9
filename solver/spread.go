package solver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/everseal/everseal/solver/internal/challenge"
	"github.com/everseal/everseal/solver/internal/dnsclient"
	"github.com/everseal/everseal/solver/internal/escape"
	"github.com/everseal/everseal/solver/internal/reach"
)

// A spread follows one record on its way to the servers.
type spread struct {
	propagation *Propagation
	dns         *dnsclient.Client
	name        string
	match       textMatch
	advise      func(ctx context.Context, c *dnsclient.Client) string // as zoneEditor.advice does; may be nil
	logger      *slog.Logger                                          // nil: slog.Default

	target  string // where the CNAMEs of name led last
	servers []*spreadServer
	alias   string // what advise returned last
	nearly  string // what nearMiss returned
	unknown error  // why the servers are not known

	working  sync.WaitGroup
	findings chan func()
}

// A spreadServer is what is known of one server.
type spreadServer struct {
	name, address string
	err           error // why it cannot be asked

	since    time.Time
	interval time.Duration // until it is asked next
	tries    int
	last     probeResult
	usable   bool // it answered from the zone at least once
}

// A probeResult is the outcome of one question to a server.
type probeResult struct {
	found   bool
	usable  bool   // an answer from the zone, with the record or without
	nowhere bool   // there is no way to the server
	said    string // escaped and bounded
}

// check returns nil once servers enough have the record.
func (s *spread) check(ctx context.Context) error {
	checking, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	begun := time.Now()
	if s.watch(checking) {
		return nil
	}
	failure := s.failure(time.Since(begun))
	if ctx.Err() != nil {
		failure.Err = context.Cause(ctx)
	}
	return failure
}

func (s *spread) timeout() time.Duration {
	if timeout := s.propagation.Timeout; timeout > 0 {
		return timeout
	}
	return propagationTimeout
}

// watch asks all servers side by side, and looks up which they are now and then, until enough have the
// record; it returns false if ctx ends before, or no server is to be asked. No goroutine is left then.
func (s *spread) watch(ctx context.Context) bool {
	defer s.working.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.find(ctx, 0)
	s.study(ctx)
	long := time.After(toldPeriod)
	for !s.enough() {
		if s.isInside() {
			return false
		}
		select {
		case finding := <-s.findings:
			finding()
		case <-long:
			s.tell(ctx)
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// tell logs that the record is waited for, and what one server without it said last: rather one that answers.
func (s *spread) tell(ctx context.Context) {
	seen := s.failure(toldPeriod)
	var lacking ServerAnswer
	for _, server := range seen.Servers {
		if !server.Found && (lacking == ServerAnswer{} || server.Answered && !lacking.Answered) {
			lacking = server
		}
	}
	said := cmp.Or(lacking.Said, "nothing yet")
	if seen.Err != nil {
		said = seen.Err.Error()
	}
	loggerOr(s.logger).LogAttrs(ctx, slog.LevelInfo, "a TXT record has not spread yet, and is waited for",
		slog.String("name", s.name), slog.String("server", lacking.place()), slog.String("answer", escape.Text(said, 400)),
		slog.Duration("timeout", s.timeout()))
}

// study checks, shortly before time is out, whether there is a record that nearly is the one.
func (s *spread) study(ctx context.Context) {
	deadline, _ := ctx.Deadline()
	left := time.Until(deadline)
	s.later(ctx, left-min(left/4, adviceTimeout), func() func() {
		return func() { // which has s to itself, but must not wait
			target := s.target
			if !slices.ContainsFunc(s.servers, func(server *spreadServer) bool { return server.usable }) {
				return
			}
			s.later(ctx, 0, func() func() {
				nearly := s.nearMiss(ctx, target)
				return func() { s.nearly = nearly }
			})
		}
	})
}

// later has work done after a delay, beside everything else, and what comes of it noted by watch: only
// findings change s.
func (s *spread) later(ctx context.Context, delay time.Duration, work func() (finding func())) {
	s.working.Go(func() {
		if pause(ctx, delay) != nil {
			return
		}
		finding := work()
		if deadline, ok := ctx.Deadline(); ctx.Err() != nil || ok && !time.Now().Before(deadline) {
			return // it found that it was called back, or failed for want of time
		}
		select {
		case s.findings <- finding:
		case <-ctx.Done():
		}
	})
}

// find looks up the servers after a delay, and again and again, less and less often, and has new ones asked.
func (s *spread) find(ctx context.Context, delay time.Duration) {
	s.later(ctx, delay, func() func() {
		dns := s.dns.Fresh()
		target, servers, err := s.lookUp(ctx, dns)
		alias := ""
		if s.advise != nil && (err != nil || target != s.name || s.propagation.Recursive) {
			alias = s.advise(ctx, dns)
		}
		return func() {
			s.alias = alias
			if s.unknown = err; err != nil {
				s.find(ctx, s.propagation.next(delay))
				return
			}
			for _, server := range s.take(target, servers) {
				s.ask(ctx, server)
			}
			s.find(ctx, min(max(2*delay, reconsiderInterval), maxReconsiderInterval))
		}
	})
}

// ask asks a server when it is due, and again and again until it has the record or is one no longer.
func (s *spread) ask(ctx context.Context, server *spreadServer) {
	q := dnsclient.Query{Name: s.target, Type: dnsmessage.TypeTXT, Recurse: s.propagation.Recursive}
	s.later(ctx, server.interval, func() func() {
		seen := s.probe(ctx, server, q)
		return func() {
			server.note(seen)
			server.interval = s.propagation.next(server.interval)
			if !seen.found && slices.Contains(s.servers, server) {
				s.ask(ctx, server)
			}
		}
	})
}

// take makes these the servers, and returns those that are new. What is known of the others is kept, unless
// the record is now checked for at another name.
func (s *spread) take(target string, servers []*spreadServer) (added []*spreadServer) {
	for i, server := range servers {
		known := func(old *spreadServer) bool {
			return old.name == server.name && old.address == server.address && (old.err == nil) == (server.err == nil)
		}
		if j := slices.IndexFunc(s.servers, known); j >= 0 && target == s.target {
			servers[i] = s.servers[j]
			continue
		}
		server.since = time.Now()
		added = append(added, server)
	}
	s.target, s.servers = target, servers
	return added
}

// lookUp returns which servers to ask, and for which name.
func (s *spread) lookUp(ctx context.Context, dns *dnsclient.Client) (target string, servers []*spreadServer, err error) {
	if s.propagation.Recursive {
		resolvers, err := dns.Resolvers(ctx)
		for _, address := range resolvers {
			servers = append(servers, &spreadServer{address: address})
		}
		return s.name, servers, err
	}
	chain, err := dns.CNAMEChain(ctx, s.name)
	if err != nil {
		return "", nil, err
	}
	chain = dns.CurrentChain(ctx, chain)
	target = chain[len(chain)-1]
	zone, err := dns.Zone(ctx, target)
	if err != nil {
		return "", nil, err
	}
	nameservers, err := dns.Nameservers(ctx, zone)
	for _, ns := range nameservers {
		server := &spreadServer{name: ns.Name, err: ns.Err}
		if ns.Addr.IsValid() {
			server.address = ns.Addr.String()
		}
		servers = append(servers, server)
	}
	return target, servers, err
}

// enough reports whether the record counts as spread, by the rules of Propagation.Quorum.
func (s *spread) enough() bool {
	found, missing := 0, 0
	for _, server := range s.servers {
		switch {
		case server.last.found:
			found++
		case !server.isLeftOut(time.Now()):
			missing++
		}
	}
	if quorum := s.propagation.Quorum; quorum > 0 {
		return found > 0 && found >= min(quorum, len(s.servers))
	}
	return found > 0 && missing == 0
}

// isInside reports whether all servers are at addresses of which none is asked.
func (s *spread) isInside() bool {
	asked := func(server *spreadServer) bool {
		return !errors.Is(server.err, reach.ErrPrivate) || server.tries == 0
	}
	return len(s.servers) > 0 && !slices.ContainsFunc(s.servers, asked)
}

func (server *spreadServer) note(seen probeResult) {
	server.tries++
	server.last = seen
	server.usable = server.usable || seen.usable
}

func (server *spreadServer) isLeftOut(now time.Time) bool {
	silent := server.tries >= unusableServerTries && now.Sub(server.since) >= unusableServerPeriod
	return !server.usable && (server.last.nowhere || silent)
}

// probe asks one server once.
func (s *spread) probe(ctx context.Context, server *spreadServer, ask dnsclient.Query) probeResult {
	if server.err != nil {
		return server.unasked()
	}
	r, err := s.dns.Uncounted().Exchange(ctx, server.address, ask)
	if failure, ok := errors.AsType[*dnsclient.ExchangeError](err); ok {
		return probeResult{nowhere: failure.NoRoute, said: fmt.Sprintf("nothing: %.300v", failure.Tries)}
	}
	if err != nil {
		return probeResult{said: fmt.Sprintf("nothing: %.300v", err)}
	}
	answered := r.RCode == dnsmessage.RCodeSuccess || r.RCode == dnsmessage.RCodeNameError
	usable := answered && (r.Authoritative || ask.Recurse)
	return probeResult{
		found:  usable && s.match.in(r.Texts(ask.Name)),
		usable: usable,
		said:   r.Text(ask),
	}
}

// unasked is the probeResult of a server that cannot be asked.
func (server *spreadServer) unasked() probeResult {
	if server.address != "" {
		return probeResult{nowhere: errors.Is(server.err, reach.ErrPrivate), said: fmt.Sprintf("nothing, it is not asked: %.300v", server.err)}
	}
	cause, ok := errors.AsType[*net.DNSError](server.err)
	return probeResult{nowhere: ok && cause.IsNotFound, said: fmt.Sprintf("nothing, its address is not known: %.300v", server.err)}
}

// probeOnce asks each server once, side by side. It returns nil if one has the record, else what they said.
func (s *spread) probeOnce(ctx context.Context) *PropagationError {
	begun := time.Now()
	target, servers, err := s.lookUp(ctx, s.dns.Fresh())
	if s.unknown = err; err == nil {
		s.take(target, servers)
	}
	var asking sync.WaitGroup
	for _, server := range s.servers {
		asking.Go(func() {
			server.note(s.probe(ctx, server, dnsclient.Query{Name: s.target, Type: dnsmessage.TypeTXT, Recurse: s.propagation.Recursive}))
		})
	}
	asking.Wait()
	if slices.ContainsFunc(s.servers, func(server *spreadServer) bool { return server.last.found }) {
		return nil
	}
	return s.failure(time.Since(begun))
}

// nearMiss returns what is wrong with a record that was written and not seen, and what to do, or "".
func (s *spread) nearMiss(ctx context.Context, target string) string {
	dns := s.dns.Fresh()
	zone, err := dns.Zone(ctx, target)
	if err != nil {
		return ""
	}
	m := challenge.NearMiss{Name: target, Zone: zone}
	for _, name := range []string{m.Name, m.Doubled()} {
		r, err := dns.Resolve(ctx, name, dnsmessage.TypeTXT)
		if err != nil {
			continue
		}
		for _, value := range r.Texts(name) {
			switch bare := challenge.Unquoted(value); {
			case name != m.Name && s.match.in([]string{value}):
				return m.DoubledReason() + ": " + m.DoubledCure()
			case bare != value && s.match.in([]string{bare}):
				return m.QuotedReason() + ": " + challenge.QuotedCure
			}
		}
	}
	return ""
}
