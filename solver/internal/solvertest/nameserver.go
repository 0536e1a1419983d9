package solvertest

import (
	"slices"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// A Nameserver is a server of a DNS.
type Nameserver struct {
	dns      *DNS
	udp, tcp string // loopback addresses

	zones   []string
	records map[string][]dnsmessage.Resource
	asked   []Query
	answer  Answer
}

// Answer sets how the server answers from now on; nil: as its records are.
func (s *Nameserver) Answer(answer Answer) {
	s.dns.mu.Lock()
	defer s.dns.mu.Unlock()
	s.answer = answer
}

// A Query is what a server was asked.
type Query struct {
	Network string
	dnsmessage.Message
}

// Queries returns all that the server was asked.
func (s *Nameserver) Queries() []Query {
	s.dns.mu.Lock()
	defer s.dns.mu.Unlock()
	return slices.Clone(s.asked)
}

// Asked returns how often the server was asked for records of a type at a name.
func (s *Nameserver) Asked(name, kind string) int {
	n, qtype := 0, NewRecord(name, kind, "").Header.Type
	for _, m := range s.Queries() {
		if q := m.Questions[0]; bareName(q.Name.String()) == bareName(name) && q.Type == qtype {
			n++
		}
	}
	return n
}

// Hold makes the server authoritative for a zone, which gets an SOA record.
func (s *Nameserver) Hold(zone string) {
	s.dns.mu.Lock()
	s.zones = append(s.zones, bareName(zone))
	s.dns.mu.Unlock()
	s.Add(zone, "SOA", "")
}

// Unhold takes all zones from the server, as if it had not been told of them.
func (s *Nameserver) Unhold() {
	s.dns.mu.Lock()
	defer s.dns.mu.Unlock()
	s.zones = nil
}

// Add adds a record to those of this server alone. A CAA record is written as in a zone file, without quotes.
func (s *Nameserver) Add(name, kind, value string) {
	s.dns.t.Helper()
	record := NewRecord(name, kind, value)
	s.dns.mu.Lock()
	defer s.dns.mu.Unlock()
	s.records[bareName(name)] = append(s.records[bareName(name)], record)
}

// Remove removes the records of a type and a value that this server has at a name, or all of the type if the
// value is empty.
func (s *Nameserver) Remove(name, kind, value string) {
	removed := NewRecord(name, kind, value)
	s.dns.mu.Lock()
	defer s.dns.mu.Unlock()
	var kept []dnsmessage.Resource
	for _, r := range s.records[bareName(name)] {
		if r.Header.Type != removed.Header.Type || (value != "" && r.Body.GoString() != removed.Body.GoString()) {
			kept = append(kept, r)
		}
	}
	delete(s.records, bareName(name))
	if kept != nil {
		s.records[bareName(name)] = kept
	}
}

// reply returns what the server, or the resolver, says. The lock is held.
func (s *Nameserver) reply(query dnsmessage.Message) *dnsmessage.Message {
	r := &dnsmessage.Message{Questions: query.Questions[:1]}
	r.ID, r.Response, r.RecursionDesired = query.ID, true, query.RecursionDesired
	name, qtype := bareName(query.Questions[0].Name.String()), query.Questions[0].Type
	asked := s
	for range 20 { // as many CNAMEs
		if s == s.dns.Resolver {
			r.RecursionAvailable = true
			asked = s.dns.holder(name)
		}
		next := asked.lookUp(r, name, qtype)
		if next == "" || (s != s.dns.Resolver && asked.zoneOf(next) == "") {
			break
		}
		name = next
	}
	if s == s.dns.Resolver {
		if !r.Authoritative && r.RCode == dnsmessage.RCodeSuccess {
			r.RCode, r.Authorities = dnsmessage.RCodeServerFailure, nil // delegated to nobody
		}
		r.Authoritative = false
	}
	return r
}

// zoneOf returns the closest zone of the server around a name, or "".
func (s *Nameserver) zoneOf(name string) string {
	best := ""
	for _, zone := range s.zones {
		if (name == zone || strings.HasSuffix(name, "."+zone)) && len(zone) > len(best) {
			best = zone
		}
	}
	return best
}

// lookUp adds to r what the server has, and returns where a CNAME leads.
func (s *Nameserver) lookUp(r *dnsmessage.Message, name string, qtype dnsmessage.Type) (next string) {
	zone := s.zoneOf(name)
	if zone == "" {
		r.RCode = dnsmessage.RCodeRefused
		if s == s.dns.Resolver {
			r.RCode = dnsmessage.RCodeNameError
			r.Authorities = []dnsmessage.Resource{NewRecord(".", "SOA", "")}
		}
		return ""
	}
	for cut := name; cut != zone; _, cut, _ = strings.Cut(cut, ".") {
		for _, record := range s.records[cut] {
			if record.Header.Type == dnsmessage.TypeNS {
				r.Authorities = append(r.Authorities, record)
			}
		}
		if r.Authorities != nil {
			return ""
		}
	}
	r.Authoritative = true
	found, records := len(r.Answers), s.at(name)
	for _, record := range records {
		record.Header.Name = NewName(name)
		cname, isAlias := record.Body.(*dnsmessage.CNAMEResource)
		if record.Header.Type == qtype || isAlias {
			r.Answers = append(r.Answers, record)
		}
		if isAlias && qtype != dnsmessage.TypeCNAME {
			return bareName(cname.CNAME.String())
		}
	}
	if len(r.Answers) == found {
		r.Authorities = []dnsmessage.Resource{NewRecord(zone, "SOA", "")}
	}
	if records == nil && !s.hasBelow(name) {
		r.RCode = dnsmessage.RCodeNameError
	}
	return ""
}

// at returns the records at a name, or of the wildcard that stands for it.
func (s *Nameserver) at(name string) []dnsmessage.Resource {
	if records := s.records[name]; records != nil || s.hasBelow(name) {
		return records
	}
	for closest := name; closest != ""; {
		_, closest, _ = strings.Cut(closest, ".")
		if records := s.records["*."+closest]; records != nil {
			return records
		}
		if s.records[closest] != nil || s.hasBelow(closest) {
			break
		}
	}
	return nil
}

func (s *Nameserver) hasBelow(name string) bool {
	for other := range s.records {
		if strings.HasSuffix(other, "."+name) {
			return true
		}
	}
	return false
}
