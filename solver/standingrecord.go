package solver

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/everseal/everseal/acme"
	"golang.org/x/net/dns/dnsmessage"
)

// A textMatch is a record that is looked for: text names it, and matches says whether another that is
// found does as well. Nil: only the text itself does.
type textMatch struct {
	text    string
	matches func(found string) bool
}

// in reports whether one of the values is what is looked for.
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
	return textMatch{text, func(found string) bool { return stands(found, p, time.Now()) }}
}

// stands reports whether the text of a record answers the proof. It has the syntax of a CAA record's value
// (RFC 8659 §4.2); names of parameters and the policy are compared without regard to case, and a text in
// which a parameter is empty or there twice counts for nothing.
func stands(text string, p acme.Proof, now time.Time) bool {
	issuer, rest, more := strings.Cut(text, ";")
	if !slices.Contains(slices.Concat(p.Issuers, p.HashedIssuers), strings.Trim(issuer, " \t")) {
		return false
	}
	parameters := make(map[string]string)
	for more {
		var parameter string
		parameter, rest, more = strings.Cut(rest, ";")
		name, value, ok := strings.Cut(parameter, "=")
		name = strings.ToLower(strings.Trim(name, " \t"))
		if _, repeated := parameters[name]; !ok || name == "" || repeated {
			return false
		}
		parameters[name] = strings.Trim(value, " \t")
	}
	if until, ok := parameters["persistuntil"]; ok {
		seconds, err := strconv.ParseInt(until, 10, 64)
		if err != nil || now.After(time.Unix(seconds, 0)) {
			return false
		}
	}
	account := parameters["accounturi"]
	return account != "" && (account == p.AccountURI || account == p.AnyDomainAccountURI) && (!p.Wildcard || strings.EqualFold(parameters["policy"], "wildcard"))
}

// lookOnce asks each server once, side by side. It returns nil if one has the record, else what they said.
func (s *spread) lookOnce(ctx context.Context) *PropagationError {
	begun := time.Now()
	target, servers, err := s.lookUp(ctx, s.dns.anew())
	if s.unknown = err; err == nil {
		s.take(target, servers)
	}
	var asking sync.WaitGroup
	for _, server := range s.servers {
		asking.Go(func() {
			server.note(s.sight(ctx, server, query{name: s.target, qtype: dnsmessage.TypeTXT, recurse: s.propagation.Recursive}))
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
