package solver

import (
	"fmt"
	"strings"

	"github.com/everseal/everseal/solver/internal/escape"
)

// A nearMiss is how a TXT record may have been written that is not seen: at another name, or with more text.
type nearMiss struct{ name, zone string }

// doubled is where a panel puts a record that appends the zone's name to a name that was complete.
func (m nearMiss) doubled() string { return m.name + "." + m.zone }

func (m nearMiss) doubledReason() string {
	return fmt.Sprintf("the TXT record is at %s, with the name of the zone twice, and not at %s", escape.Text(m.doubled(), 260), escape.Text(m.name, 260))
}

func (m nearMiss) doubledCure() string {
	label := relativeName(m.name, m.zone)
	return fmt.Sprintf("give the name to the zone's provider without the zone, as %s, or with a final dot", escape.Text(label, 260))
}

func (m nearMiss) quotedReason() string {
	return fmt.Sprintf("the TXT record %s has the value with quotes or blanks around it, which are part of it", escape.Text(m.name, 260))
}

const quotedCure = "give the value to the zone's provider without quotes and blanks"

// unquoted returns a TXT value without the quotes and blanks around it.
func unquoted(value string) string { return strings.Trim(value, "\"'\\ \t\r\n") }

// relativeName returns a name relative to its zone, "@" for the zone itself.
func relativeName(name, zone string) string {
	if name == zone {
		return "@"
	}
	return strings.TrimSuffix(name, "."+zone)
}
