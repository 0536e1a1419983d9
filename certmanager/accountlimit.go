package certmanager

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"unicode"

	"golang.org/x/net/publicsuffix"

	"github.com/everseal/everseal/acme"
)

// limitsAccount reports whether an error is a rate limit of the account, or of the address that it is used from, and
// not of the order's names. CAs have one type of problem for both (RFC 8555 §6.6): one that says which names it is
// about, or speaks of a set of them, is theirs. Taken for theirs, a limit of the account costs a request for each name;
// taken for the account's, one of a name would have all others wait for days.
func limitsAccount(err error, identifiers []acme.Identifier) bool {
	if errors.As(err, new(*acme.OrderError)) || errors.As(err, new(*acme.AuthorizationError)) {
		return false
	}
	problem, ok := errors.AsType[*acme.Problem](err)
	switch {
	case !ok:
		return false
	case problem.Type == "":
		return problem.Status == http.StatusTooManyRequests // a front end's
	case problem.Type != acme.ErrRateLimited || problem.Identifier != nil:
		return false
	}
	for _, sub := range problem.Subproblems {
		if sub != nil && sub.Identifier != nil {
			return false
		}
	}
	for _, word := range limitWords(problem.Detail) {
		if speaksOfNames(word) || isOneOf(word, identifiers) {
			return false
		}
	}
	return true
}

// speaksOfNames reports whether the word is one with which limits speak of names that they do not tell, such as "for this
// exact set of identifiers".
func speaksOfNames(word string) bool {
	switch strings.TrimSuffix(word, "s") {
	case "domain", "hostname", "identifier", "name":
		return true
	}
	return false
}

// limitWords returns the words of a text in lower case, its URLs left out.
func limitWords(text string) []string {
	isPart := func(r rune) bool {
		return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune(".-_*:/", r)
	}
	var words []string
	for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return !isPart(r) }) {
		if !strings.Contains(word, "://") {
			words = append(words, strings.ToLower(strings.Trim(word, ".:/-")))
		}
	}
	return words
}

// isOneOf reports whether the word is one of the identifiers or its registered domain, or the network of an address.
func isOneOf(word string, identifiers []acme.Identifier) bool {
	network, err := netip.ParsePrefix(word)
	for _, id := range identifiers {
		if id.Type == acme.TypeIP {
			addr, addrErr := netip.ParseAddr(id.Value)
			if word == id.Value || err == nil && addrErr == nil && network.Contains(addr) {
				return true
			}
			continue
		}
		base := strings.TrimPrefix(id.Value, "*.")
		registered, _ := publicsuffix.EffectiveTLDPlusOne(base)
		if word == base || strings.TrimPrefix(word, "*.") == base || word == registered && registered != "" {
			return true
		}
	}
	return false
}
