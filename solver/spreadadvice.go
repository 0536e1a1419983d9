package solver

import (
	"context"

	"golang.org/x/net/dns/dnsmessage"
)

// nearMiss returns what is wrong with a record that was written and not seen, and what to do, or "".
func (s *spread) nearMiss(ctx context.Context, target string) string {
	dns := s.dns.Anew()
	zone, err := dns.Zone(ctx, target)
	if err != nil {
		return ""
	}
	m := nearMiss{name: target, zone: zone}
	for _, name := range []string{m.name, m.doubled()} {
		r, err := dns.Resolve(ctx, name, dnsmessage.TypeTXT)
		if err != nil {
			continue
		}
		for _, value := range r.Texts(name) {
			switch bare := unquoted(value); {
			case name != m.name && s.match.in([]string{value}):
				return m.doubledReason() + ": " + m.doubledCure()
			case bare != value && s.match.in([]string{bare}):
				return m.quotedReason() + ": " + quotedCure
			}
		}
	}
	return ""
}
