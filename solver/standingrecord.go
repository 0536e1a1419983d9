package solver

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver/internal/challenge"
	"github.com/everseal/everseal/solver/internal/dnsclient"
	"golang.org/x/net/dns/dnsmessage"
)

// A textMatch is a record that is wanted: text names it, and matches says whether another that is
// found does as well. Nil: only the text itself does.
type textMatch struct {
	text    string
	matches func(found string) bool
}

// in reports whether one of the values is what is wanted.
func (m textMatch) in(values []string) bool {
	return slices.Contains(values, m.text) || m.matches != nil && slices.ContainsFunc(values, m.matches)
}

// standing returns what answers a challenge of type dns-persist-01: any record that names the CA and the
// account, by itself or for any domain, and is not over.
func standing(p acme.Proof) textMatch {
	_, text, err := p.TXTRecord()
	if err != nil {
		return textMatch{}
	}
	return textMatch{text, func(found string) bool { return challenge.IsStandingRecord(found, p, time.Now()) }}
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

// answered reports whether a server gave an answer from the zone.
func (e *PropagationError) answered() bool {
	return slices.ContainsFunc(e.Servers, func(a ServerAnswer) bool { return a.Answered })
}
