package record

import "time"

// An Absence is what is kept of checks that found that a name leads elsewhere. The zero value says that none did.
type Absence struct {
	Since  time.Time `json:"since,omitzero"`   // the first of them, UTC
	Last   time.Time `json:"last,omitzero"`    // the last one that counted, UTC
	Checks int       `json:"checks,omitempty"` // that counted
	Gone   bool      `json:"gone,omitempty"`   // it is agreed that the name is gone
}

// bounded returns the absence as it is kept.
func (a Absence) bounded() Absence {
	return Absence{utc(a.Since), utc(a.Last), max(a.Checks, 0), a.Gone}
}
