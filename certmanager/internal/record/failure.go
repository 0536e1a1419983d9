package record

import "time"

// maxError bounds the text of an error in a record, in bytes.
const maxError = 4 << 10

// maxKind bounds the kind of a failure, in bytes.
const maxKind = 64

// A Failure is what is kept of the last attempt, where it failed.
type Failure struct {
	Next   time.Time `json:"next,omitzero"`    // when the next attempt is due, UTC
	Failed time.Time `json:"failed,omitzero"`  // when the last one failed, UTC
	Error  string    `json:"error,omitempty"`  // why; of more than 4 KiB the rest is not kept
	Kind   string    `json:"kind,omitempty"`   // a certmanager.FailureKind, such as "validation"; empty: an older release has written it
	Paused bool      `json:"paused,omitempty"` // the CA takes no orders before a person asks it to
}

// bounded returns the failure as it is kept.
func (f Failure) bounded() Failure {
	return Failure{utc(f.Next), utc(f.Failed), cut(f.Error, maxError), cut(f.Kind, maxKind), f.Paused}
}

// utc returns the time in UTC. One of a year that no record can hold says nothing.
func utc(t time.Time) time.Time {
	t = t.UTC()
	if year := t.Year(); year < 0 || year > 9999 {
		return time.Time{}
	}
	return t
}
