package certmanager

import (
	"errors"
	"slices"
	"strings"

	"github.com/everseal/everseal/acme"
)

// limitOf returns the budget whose limit the CA says is reached, of an order for the identifiers. Limits are told by the
// page that explains them, or by their words, as Let's Encrypt has both.
func (b *budgets) limitOf(err error, identifiers []acme.Identifier) (purse, bool) {
	problem, ok := errors.AsType[*acme.Problem](err)
	if !ok || problem.Type != acme.ErrRateLimited {
		return purse{}, false
	}
	which := countableOf(problem.Detail)
	words := limitWords(problem.Detail)
	var found []purse
	for _, p := range slices.Concat(b.ofOrder(identifiers), b.ofFailures(identifiers)) {
		if p.which != which {
			continue
		}
		for _, word := range words {
			if p.name != "" && (word == p.name || strings.HasPrefix(word, p.name+"/")) {
				return p, true
			}
		}
		found = append(found, p)
	}
	if len(found) != 1 { // of several domains it does not tell which
		return purse{}, false
	}
	return found[0], true
}

// countableOf returns what a CA says that there was too much of; empty: it is not known what.
func countableOf(detail string) countable {
	detail = strings.ToLower(detail)
	for _, sign := range []struct {
		text string
		of   countable
	}{
		{"#new-orders-per-account", newOrders}, {"#new-certificates-per-registered-domain", certsByDomain}, {"#new-certificates-per-exact-set-of", certsBySet},
		{"#authorization-failures-per-", failures}, {"#new-registrations-per-", newAccounts},
		{"new orders", newOrders}, {"exact set", certsBySet}, {"exactly these identifiers", certsBySet}, {"failed authorizations", failures},
		{"new registrations", newAccounts}, {"new accounts", newAccounts}, {"certificates", certsByDomain},
	} {
		if strings.Contains(detail, sign.text) {
			return sign.of
		}
	}
	return ""
}
