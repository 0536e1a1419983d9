package solver

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A PropagationError says that a TXT record was not seen at servers enough in time, which of them lacked it
// and what they said.
type PropagationError struct {
	// Name is where the record was to be seen and Target where the CNAMEs there lead: to Name itself if
	// there are none. Both are without a final dot.
	Name, Target string

	// Value is the record's text.
	Value string

	// Servers are those that were asked. None: which they are could not be found out, as Err says.
	Servers []ServerAnswer

	// After is how long the record was checked for.
	After time.Duration

	// Err is why the check ended before its time or could not begin: what ended the context, or the failure to
	// find the servers. Nil: time ran out, or all servers are at addresses that are not asked.
	Err error

	advice string // what is wrong with a record that nearly is the one, and what to do; may be empty
	alias  string // as zoneEditor.advice returns it
	inside bool   // none of the servers is asked
}

// A ServerAnswer is what one DNS server said last when it was asked for a record.
type ServerAnswer struct {
	Server   string // its name, what does not print being escaped; empty for a resolver
	Address  string // host and port; empty if the name has no address
	Found    bool   // it has the record
	Answered bool   // it answered from the zone at least once
	Said     string // in words, bounded and escaped; empty if there was no time for an answer
}

// String returns the answer as half a sentence.
func (a ServerAnswer) String() string {
	return cmp.Or(a.place(), "a server without an address") + " says " + cmp.Or(a.Said, "nothing yet")
}

// place returns name and address, as far as there are.
func (a ServerAnswer) place() string {
	if a.Server == "" || a.Address == "" {
		return a.Server + a.Address
	}
	return fmt.Sprintf("%s (%s)", a.Server, a.Address)
}

// failure puts together what was seen.
func (s *spread) failure(after time.Duration) *PropagationError {
	e := &PropagationError{Name: s.name, Target: s.target, Value: s.match.text, After: after, advice: s.nearly, alias: s.alias, inside: s.isInside()}
	if e.Target == "" {
		e.Target = s.name
	}
	for _, server := range s.servers {
		quoted := strconv.Quote(server.name)
		e.Servers = append(e.Servers, ServerAnswer{
			Server:   quoted[1 : len(quoted)-1],
			Address:  server.address,
			Found:    server.last.found,
			Answered: server.usable,
			Said:     server.last.said,
		})
	}
	if len(e.Servers) == 0 {
		e.Err = s.unknownServers()
	}
	return e
}

// unknownServers returns why it is not known which servers to ask, and what to do.
func (s *spread) unknownServers() error {
	err := s.unknown
	if err == nil {
		err = errors.New("the resolvers gave no answer in time")
	}
	if s.propagation.Recursive {
		return err // no zone was asked about
	}
	return fmt.Errorf("%w. Name the zone by the solver's Zone, have resolvers asked by Propagation.Recursive, or leave out the check by Propagation.Off", err)
}

// maxNamedServers bounds the servers in the text of an error.
const maxNamedServers = 8

// Error names the servers that lacked the record, with what they said, and what to do.
func (e *PropagationError) Error() string {
	var text strings.Builder
	text.WriteString("solver: the TXT record")
	if e.Name != "" {
		fmt.Fprintf(&text, " %.260q", e.Name)
	}
	if e.Target != e.Name {
		fmt.Fprintf(&text, ", which leads to %.260q,", e.Target)
	}
	if e.Value != "" {
		fmt.Fprintf(&text, " with %.100q", e.Value)
	}
	text.WriteString(" was ")
	var lacking []string
	for _, server := range e.Servers {
		if !server.Found {
			lacking = append(lacking, server.String())
		}
	}
	if len(e.Servers) == 0 {
		text.WriteString("not asked for, as its name servers are not known,")
	} else {
		fmt.Fprintf(&text, "not seen at %d of %d servers", len(lacking), len(e.Servers))
	}
	fmt.Fprintf(&text, " within %v", e.After.Round(time.Millisecond))
	if e.Err != nil {
		fmt.Fprintf(&text, ": %v", e.Err)
	}
	for i, server := range lacking[:min(len(lacking), maxNamedServers)] {
		fmt.Fprintf(&text, "%s%s", []string{": ", "; "}[min(i, 1)], server)
	}
	if more := len(lacking) - maxNamedServers; more > 0 {
		fmt.Fprintf(&text, "; and %d more", more)
	}
	text.WriteString(e.cure(len(lacking)) + e.alias)
	return text.String()
}

// cure returns what to do, as the end of a sentence; there is nothing to say if no server was asked.
func (e *PropagationError) cure(lacking int) string {
	answered := slices.ContainsFunc(e.Servers, func(a ServerAnswer) bool { return a.Answered })
	resolvers := !slices.ContainsFunc(e.Servers, func(a ServerAnswer) bool { return a.Server != "" })
	switch {
	case e.advice != "":
		return ". But " + e.advice
	case len(e.Servers) == 0:
		return ""
	case e.inside:
		return ". If this process shares a private network with these servers, set DNS.Private, or Propagation.Recursive"
	case resolvers && !answered:
		return ". Name resolvers that answer in DNS.Resolvers"
	case resolvers:
		return ". A resolver keeps what it was told before until that expires: give it more time by Propagation.Timeout"
	case !answered:
		return ". If DNS can get out to resolvers only, set Propagation.Recursive"
	case lacking < len(e.Servers):
		return ". See why the zone does not get to all of its servers, give it more time by Propagation.Timeout, or set Propagation.Quorum"
	}
	return ". See whether the record was written to the zone that the domain is delegated to"
}

// Unwrap returns Err.
func (e *PropagationError) Unwrap() error { return e.Err }

// answered reports whether a server gave an answer from the zone.
func (e *PropagationError) answered() bool {
	return slices.ContainsFunc(e.Servers, func(a ServerAnswer) bool { return a.Answered })
}
