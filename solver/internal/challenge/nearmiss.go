package challenge

import (
	"fmt"
	"strings"

	"github.com/everseal/everseal/solver/internal/escape"
)

// A NearMiss is how a TXT record may have been written that is not seen: at another name, or with more text.
type NearMiss struct {
	Name string // where the record must be
	Zone string // that Name is in
}

// Doubled is where a panel puts a record that appends the zone's name to a name that was complete.
func (m NearMiss) Doubled() string { return m.Name + "." + m.Zone }

// DoubledReason says what is wrong with a record that is at Doubled.
func (m NearMiss) DoubledReason() string {
	return fmt.Sprintf("the TXT record is at %s, with the name of the zone twice, and not at %s", escape.Text(m.Doubled(), 260), escape.Text(m.Name, 260))
}

// DoubledCure says what to do about it.
func (m NearMiss) DoubledCure() string {
	label := RelativeName(m.Name, m.Zone)
	return fmt.Sprintf("give the name to the zone's provider without the zone, as %s, or with a final dot", escape.Text(label, 260))
}

// QuotedReason says what is wrong with a record whose value has more text around it.
func (m NearMiss) QuotedReason() string {
	return fmt.Sprintf("the TXT record %s has the value with quotes or blanks around it, which are part of it", escape.Text(m.Name, 260))
}

// QuotedCure says what to do about it.
const QuotedCure = "give the value to the zone's provider without quotes and blanks"

// Unquoted returns a TXT value without the quotes and blanks around it.
func Unquoted(value string) string { return strings.Trim(value, "\"'\\ \t\r\n") }

// RelativeName returns a name relative to its zone, "@" for the zone itself.
func RelativeName(name, zone string) string {
	if name == zone {
		return "@"
	}
	return strings.TrimSuffix(name, "."+zone)
}
