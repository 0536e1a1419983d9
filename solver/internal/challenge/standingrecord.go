package challenge

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/everseal/everseal/acme"
)

// IsStandingRecord reports whether the text of a record answers the proof. It has the syntax of a CAA record's value
// (RFC 8659 §4.2); names of parameters and the policy are compared without regard to case, and a text in
// which a parameter is empty or there twice counts for nothing.
func IsStandingRecord(text string, p acme.Proof, now time.Time) bool {
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
