package acmetest

import "strings"

// An askedIdentifier is an identifier in newOrder and newAuthz, with what may stand beside it there (RFC
// 9444 §4).
type askedIdentifier struct {
	identifier
	AncestorDomain       string `json:"ancestorDomain,omitempty"`       // in newOrder
	SubdomainAuthAllowed bool   `json:"subdomainAuthAllowed,omitempty"` // in newAuthz
}

// lower returns the identifier with names in lower case, as far as the server goes by them: a CA without
// authorizations for subdomains ignores what it does not know.
func (s *Server) lower(asked askedIdentifier) askedIdentifier {
	if asked.Type == typeDNS {
		asked.Value = strings.ToLower(asked.Value)
		asked.AncestorDomain = strings.ToLower(asked.AncestorDomain)
	}
	if !s.SubdomainAuthorizations {
		asked.AncestorDomain, asked.SubdomainAuthAllowed = "", false
	}
	return asked
}

// checkAncestor returns what is wrong with the domain that is to stand for the identifier, nil if nothing
// is or there is none.
func (s *Server) checkAncestor(asked askedIdentifier) *problem {
	ancestor := asked.AncestorDomain
	switch {
	case ancestor == "":
		return nil
	case asked.Type != typeDNS || !isSubdomain(asked.Value, ancestor):
		return problemf(malformed, "the ancestorDomain %s is not above %s (RFC 9444 §4.2)", quote(ancestor), quote(asked.Value))
	case s.isRefused(ancestor):
		return problemf(rejectedIdentifier, "this CA issues no certificates for %s", quote(ancestor))
	}
	return checkDomain(ancestor)
}

// needed returns what is to be held for an order of the identifier, if nothing that will do is held yet.
func (s *Server) needed(a *account, asked askedIdentifier) holding {
	if asked.AncestorDomain != "" {
		ancestor := holding{account: a, identifier: identifier{typeDNS, asked.AncestorDomain}, subdomains: true}
		if len(s.offered(ancestor)) > 0 {
			return ancestor
		}
	}
	return holding{account: a, identifier: asked.identifier}
}

// sufficient returns all that it is enough to hold for an order of the identifier: itself, or a domain above
// it with all subdomains.
func sufficient(a *account, id identifier) []holding {
	held := []holding{{account: a, identifier: id}}
	if id.Type != typeDNS {
		return held
	}
	for domain, ok := id.Value, true; ok; _, domain, ok = strings.Cut(domain, ".") {
		if !strings.HasPrefix(domain, "*.") {
			held = append(held, holding{account: a, identifier: identifier{typeDNS, domain}, subdomains: true})
		}
	}
	return held
}

// isSubdomain reports whether name, which may be a wildcard, is below domain: by whole labels (RFC 9444
// §7.1).
func isSubdomain(name, domain string) bool { return strings.HasSuffix(name, "."+domain) }
