package acme

import (
	"encoding/json"
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

// readTime reads a date as RFC 3339 writes it, with small letters too, and one without a zone as of UTC. What is
// no date is the zero time.
func readTime(data json.RawMessage) time.Time {
	var text string
	if json.Unmarshal(data, &text) != nil {
		return time.Time{}
	}
	text = strings.ToUpper(text)
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t
		}
	}
	return time.Time{}
}
