package certmanager

import (
	"slices"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/record"
)

// Proofs are a set of types of challenge, as bits: there may be a million.
type proofs uint8

// challengeTypes returns those that are told apart, each at the place of its bit.
func challengeTypes() []string {
	return []string{acme.TypeHTTP01, acme.TypeTLSALPN01, acme.TypeDNS01, acme.TypeDNSAccount01, acme.TypeDNSPersist01}
}

// proofsOf returns by which challenges control was proved, and when first, in seconds since 1970; 0: that is not known.
func proofsOf(all []record.Validation) (set proofs, first int64) {
	for _, v := range all {
		if i := slices.Index(challengeTypes(), v.Type); i >= 0 {
			set |= 1 << i
		}
		if at := v.Validated.Unix(); !v.Validated.IsZero() && (first == 0 || at < first) {
			first = at
		}
	}
	return set, first
}

// addProofs adds those of a certificate for the subject's names that have none yet.
func addProofs(all []record.Validation, s *subject, r *record.Certificate) []record.Validation {
	for _, v := range r.Validations {
		known := slices.ContainsFunc(all, func(other record.Validation) bool { return other.Name == v.Name })
		if !known && !r.Imported && slices.Contains(s.names(), v.Name) {
			all = append(all, v)
		}
	}
	return all
}

// types returns the types in the set.
func (p proofs) types() (types []string) {
	if p == 0 {
		return nil
	}
	for i, t := range challengeTypes() {
		if p&(1<<i) != 0 {
			types = append(types, t)
		}
	}
	return types
}

// validatedAt returns when control of a name was proved first; zero: that is not known.
func (f *facts) validatedAt() time.Time {
	if f.validated == 0 {
		return time.Time{}
	}
	return time.Unix(f.validated, 0).UTC()
}
