package dnsclient

import (
	"fmt"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// Text says in a few words what the reply to a question for TXT records is.
func (r *Reply) Text(asked Query) string {
	if extended := ExtendedText(r.Extended); extended != "" {
		return r.content(asked) + " (" + extended + ")"
	}
	return r.content(asked)
}

func (r *Reply) content(asked Query) string {
	text := RCodeText(r.RCode)
	values := r.Texts(asked.Name)
	alias := r.Follow(BareName(asked.Name))
	switch {
	case len(values) > 0:
		text = valuesText(values)
	case alias != BareName(asked.Name):
		text = fmt.Sprintf("a CNAME to %.260q without a TXT record", alias)
	case r.RCode == dnsmessage.RCodeSuccess && !r.Authoritative && !asked.Recurse:
		return "that it does not hold the zone"
	case r.RCode == dnsmessage.RCodeSuccess:
		text = "that there is no TXT record"
	case r.RCode == dnsmessage.RCodeNameError:
		text = "that there is no such name (NXDOMAIN)"
	}
	if !r.Authoritative && !asked.Recurse && (r.RCode == dnsmessage.RCodeSuccess || r.RCode == dnsmessage.RCodeNameError) {
		text += ", without authority for the zone"
	}
	return text
}

// valuesText lists the first of some TXT values.
func valuesText(values []string) string {
	const maxListed = 4
	var text strings.Builder
	text.WriteString("TXT")
	for i, value := range values[:min(len(values), maxListed)] {
		if i > 0 {
			text.WriteString(",")
		}
		fmt.Fprintf(&text, " %.100q", value)
	}
	if more := len(values) - maxListed; more > 0 {
		fmt.Fprintf(&text, " and %d more", more)
	}
	return text.String()
}
