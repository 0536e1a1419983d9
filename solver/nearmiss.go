package solver

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// A nearMiss is how a TXT record may have been written that is not seen: at another name, or with more text.
type nearMiss struct{ name, zone string }

// doubled is where a panel puts a record that appends the zone's name to a name that was complete.
func (m nearMiss) doubled() string { return m.name + "." + m.zone }

func (m nearMiss) doubledReason() string {
	return fmt.Sprintf("the TXT record is at %s, with the name of the zone twice, and not at %s", escaped(m.doubled(), 260), escaped(m.name, 260))
}

func (m nearMiss) doubledCure() string {
	label := Record{Zone: m.zone, Name: m.name}.label()
	return fmt.Sprintf("give the name to the zone's provider without the zone, as %s, or with a final dot", escaped(label, 260))
}

func (m nearMiss) quotedReason() string {
	return fmt.Sprintf("the TXT record %s has the value with quotes or blanks around it, which are part of it", escaped(m.name, 260))
}

const quotedCure = "give the value to the zone's provider without quotes and blanks"

// unquoted returns a TXT value without the quotes and blanks around it.
func unquoted(value string) string { return strings.Trim(value, "\"'\\ \t\r\n") }

// nearMiss returns what is wrong with a record that was written and not seen, and what to do, or "".
func (s *spread) nearMiss(ctx context.Context, target string) string {
	dns := s.dns.anew()
	zone, err := dns.zone(ctx, target)
	if err != nil {
		return ""
	}
	m := nearMiss{name: target, zone: zone}
	for _, name := range []string{m.name, m.doubled()} {
		r, err := dns.resolve(ctx, name, dnsmessage.TypeTXT)
		if err != nil {
			continue
		}
		for _, value := range textValues(r, name) {
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
