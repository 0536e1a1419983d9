package solver

import (
	"context"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/everseal/everseal/solver/internal/challenge"
)

// nearMiss returns what is wrong with a record that was written and not seen, and what to do, or "".
func (s *spread) nearMiss(ctx context.Context, target string) string {
	dns := s.dns.Fresh()
	zone, err := dns.Zone(ctx, target)
	if err != nil {
		return ""
	}
	m := challenge.NearMiss{Name: target, Zone: zone}
	for _, name := range []string{m.Name, m.Doubled()} {
		r, err := dns.Resolve(ctx, name, dnsmessage.TypeTXT)
		if err != nil {
			continue
		}
		for _, value := range r.Texts(name) {
			switch bare := challenge.Unquoted(value); {
			case name != m.Name && s.match.in([]string{value}):
				return m.DoubledReason() + ": " + m.DoubledCure()
			case bare != value && s.match.in([]string{bare}):
				return m.QuotedReason() + ": " + challenge.QuotedCure
			}
		}
	}
	return ""
}
