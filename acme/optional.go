package acme

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"
)

// An optional member of a resource is one that nothing needs: in a form that is not known here it is left out,
// and does not make the whole unreadable.
type optional[T any] struct{ value T }

// UnmarshalJSON never fails.
func (o *optional[T]) UnmarshalJSON(data []byte) error {
	readMember(data, &o.value)
	return nil
}

// A looseTime is an optional date.
type looseTime struct{ time.Time }

// UnmarshalJSON never fails.
func (t *looseTime) UnmarshalJSON(data []byte) error {
	t.Time = readTime(data)
	return nil
}

// A looseBool is an optional truth, which may be written as a string.
type looseBool bool

// UnmarshalJSON never fails.
func (b *looseBool) UnmarshalJSON(data []byte) error {
	*b = looseBool(strings.EqualFold(strings.Trim(string(data), `"`), "true"))
	return nil
}

// A looseProblem is an optional problem document. One that is a string is its detail.
type looseProblem struct{ *Problem }

// UnmarshalJSON never fails.
func (p *looseProblem) UnmarshalJSON(data []byte) error {
	readMember(data, &p.Problem)
	var detail string
	if p.Problem == nil && json.Unmarshal(data, &detail) == nil && detail != "" {
		p.Problem = &Problem{Detail: detail}
	}
	return nil
}

// readTime returns the time in a member of a resource (RFC 3339), in UTC, or zero if none can be read. One without
// a zone, which some CAs leave out, is in UTC. What it returns can be written again, which time.Time refuses for a
// zone of a day or more and for a year beyond 9999.
func readTime(data json.RawMessage) time.Time {
	const maxLength = 64
	var text string
	if json.Unmarshal(data, &text) != nil || len(text) > maxLength {
		return time.Time{}
	}
	text = strings.Replace(strings.ToUpper(strings.TrimSpace(text)), " ", "T", 1)
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05"} {
		if t, err := time.Parse(layout, text); err == nil && t.UTC().Year() <= 9999 && t.UTC().Year() > 0 {
			return t.UTC()
		}
	}
	return time.Time{}
}

// readPageURL returns the URL in a member of a resource of a page for people to read, or "" if there is none that
// can be shown to them as it is.
func readPageURL(data json.RawMessage) string {
	var text string
	if json.Unmarshal(data, &text) != nil {
		return ""
	}
	if !isPage(text, "https", "http") {
		return ""
	}
	return text
}

// isPage reports whether text is a URL of one of the schemes, for a person to open.
func isPage(text string, schemes ...string) bool {
	u, err := url.Parse(text)
	return err == nil && slices.Contains(schemes, u.Scheme) && u.Hostname() != "" && u.User == nil &&
		len(text) <= maxURLLength && !strings.ContainsFunc(text, func(r rune) bool { return r == ' ' || unprintable(r) })
}
