package acmetest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// checkOffers checks what challenges the server is told to offer.
func (s *Server) checkOffers() error {
	known := []string{http01, tlsALPN01, dns01, dnsAccount01, dnsPersist01}
	for _, challengeType := range s.Challenges {
		if !slices.Contains(known, challengeType) {
			return fmt.Errorf("%q in Challenges is not one of %q; OtherChallenges is for others", challengeType, known)
		}
	}
	for challengeType := range s.OtherChallenges {
		if slices.Contains(known, challengeType) || challengeType == "" {
			return fmt.Errorf("%q in OtherChallenges is empty or belongs into Challenges", challengeType)
		}
	}
	return nil
}

// offered returns the types of challenges that can prove what is held, in the sequence of their offer.
func (s *Server) offered(held holding) (types []string) {
	candidates := s.Challenges
	if candidates == nil {
		candidates = []string{http01, tlsALPN01, dns01}
	}
	for _, challengeType := range candidates {
		if held.provableBy(challengeType) {
			types = append(types, challengeType)
		}
	}
	return append(types, slices.Sorted(maps.Keys(s.OtherChallenges))...)
}

// provableBy reports whether a challenge that the server can validate fits: those by DNS are for names
// only (RFC 8738 §7), and for more than one name no others are.
func (held holding) provableBy(challengeType string) bool {
	if strings.HasPrefix(challengeType, "dns-") {
		return held.identifier.Type == typeDNS
	}
	return !held.subdomains && !strings.HasPrefix(held.identifier.Value, "*.")
}
