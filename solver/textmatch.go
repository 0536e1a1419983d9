package solver

import (
	"slices"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver/internal/challenge"
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
