package certmanager

import (
	"encoding/json"
	"errors"
	"iter"
	"strings"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/lifecycle"
	"github.com/everseal/everseal/solver/diagnose"
)

// A Status is what the manager knows of one certificate.
type Status struct {
	Names     []string  `json:"names"`
	KeyType   KeyType   `json:"keyType"`
	OnDemand  bool      `json:"onDemand,omitempty"` // obtained for a client that asked, not configured
	State     State     `json:"state"`
	Issuer    string    `json:"issuer,omitempty"` // ID of the issuer that signed it; this and the next four are zero without a certificate
	Serial    string    `json:"serial,omitempty"` // hexadecimal
	NotBefore time.Time `json:"notBefore,omitzero"`
	NotAfter  time.Time `json:"notAfter,omitzero"` // UTC; when the first of its chain ends
	EndOf     string    `json:"endOf,omitempty"`   // subject of the intermediate that ends then; empty: the certificate itself does

	// How control of the names was proved, as far as the issuer says: by which types of challenge, such as "http-01",
	// and when first for any of the names, in UTC.
	Challenges []string  `json:"challenges,omitempty"`
	Validated  time.Time `json:"validated,omitzero"`
	Copied     time.Time `json:"copied,omitzero"`    // when the local copy was made that is served while the storage can't be read, in UTC; zero: none is
	Imported   bool      `json:"imported,omitempty"` // by Manager.Import: not Issuer has signed it, but will its successor

	Action   Action    `json:"action"`             // what comes next
	Next     time.Time `json:"next"`               // when, for this member of a fleet; a time in the past: its turn comes
	Reason   Reason    `json:"reason,omitempty"`   // why it waits until Next after a failure, or though nothing failed
	Deferred string    `json:"deferred,omitempty"` // the same in words, if nothing failed
	Renewal  time.Time `json:"renewal,omitzero"`   // when what there is is to be renewed, which stays so while attempts fail; zero: there is none
	Attempts int       `json:"attempts,omitempty"` // that failed in a row
	Since    time.Time `json:"since,omitzero"`     // when the first of them was
	Failure  *Failure  `json:"failure,omitempty"`  // the last attempt's; nil: it succeeded, or there was none

	// What the issuer suggests for the renewal (RFC 9773), as far as it was asked: the window, in UTC, from which Next is chosen,
	// and a page on the reason, if it names one; and when it is asked next, if that comes before the renewal.
	Window         acme.Window `json:"window,omitzero"`
	ExplanationURL string      `json:"explanationURL,omitempty"`
	NextPoll       time.Time   `json:"nextPoll,omitzero"`
}

// A State is how a certificate stands.
type State string

// The states of a certificate.
const (
	StateWaiting   State = "waiting"   // there is none yet
	StateObtaining State = "obtaining" // there is none yet; it is being obtained
	StateValid     State = "valid"     // it is served
	StateRenewing  State = "renewing"  // it is served, and its successor is being obtained
	StateExpired   State = "expired"   // it is served for want of a better one
)

// An Action is what the manager will do next for a certificate.
type Action string

// The actions.
const (
	ActionLoad   Action = "load"   // see what the storage has
	ActionObtain Action = "obtain" // the first certificate
	ActionRenew  Action = "renew"
	ActionRetry  Action = "retry" // what failed
)

// A Failure is why an attempt failed, and when.
type Failure struct {
	Time      time.Time
	Kind      FailureKind
	Err       error
	Diagnoses []*diagnose.Report // what was seen of the cause, if control was not proved and this process has tried it
}

// A shownFailure is a Failure as JSON has it.
type shownFailure struct {
	Time      time.Time          `json:"time"`
	Kind      FailureKind        `json:"kind"`
	Error     string             `json:"error"`
	Diagnoses []*diagnose.Report `json:"diagnoses,omitempty"`
}

// MarshalJSON shows the error's text as "error".
func (f Failure) MarshalJSON() ([]byte, error) {
	shown := shownFailure{Time: f.Time, Kind: f.Kind, Diagnoses: f.Diagnoses}
	if f.Err != nil {
		shown.Error = f.Err.Error()
	}
	return json.Marshal(shown)
}

// UnmarshalJSON reads what MarshalJSON gave. Of the error only the text is left.
func (f *Failure) UnmarshalJSON(data []byte) error {
	var shown shownFailure
	if err := json.Unmarshal(data, &shown); err != nil {
		return err
	}
	*f = Failure{Time: shown.Time, Kind: shown.Kind, Diagnoses: shown.Diagnoses}
	if shown.Error != "" {
		f.Err = errors.New(shown.Error)
	}
	return nil
}

// Status returns how the certificate stands that covers the name, of several kinds of key the first, also one that was
// wanted on demand and could not be obtained lately. It reports false if there is none.
func (m *Manager) Status(name string) (Status, bool) {
	id, err := acme.ParseIdentifier(name)
	if err != nil {
		return Status{}, false
	}
	e := m.catalogue.covering(id.Value)
	if e == nil {
		e = m.admission.failing(id.Value)
	}
	if e == nil {
		return Status{}, false
	}
	return statusOf(e, time.Now()), true
}

// All returns how each certificate stands, in no particular order: of those under management, and of those that were
// wanted on demand and could not be obtained lately. Certificates that are added or removed meanwhile may or may not be
// among them.
func (m *Manager) All() iter.Seq[Status] {
	return func(yield func(Status) bool) {
		for e := range m.entries() {
			if !yield(statusOf(e, time.Now())) {
				return
			}
		}
	}
}

// entries returns those under management, and those that were wanted on demand and could not be obtained lately.
func (m *Manager) entries() iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for e := range m.catalogue.all() {
			if !yield(e) {
				return
			}
		}
		for _, e := range m.admission.allFailing() {
			if !yield(e) {
				return
			}
		}
	}
}

// actionOf returns the action as the status shows it.
func actionOf(a lifecycle.Action) Action {
	switch a {
	case lifecycle.Load:
		return ActionLoad
	case lifecycle.Obtain:
		return ActionObtain
	case lifecycle.Renew:
		return ActionRenew
	}
	return ActionRetry
}

// statusOf returns how an entry stands.
func statusOf(e *entry, now time.Time) Status {
	p, c := e.progress.snapshot(now), e.held()
	s := Status{
		Names: e.names(), KeyType: e.keyType(), OnDemand: e.roles.has(onDemand),
		State: p.standing(c, now), Action: actionOf(p.plan.Action), Next: p.plan.Due, Reason: p.reason(now),
		Attempts: p.attempts, Since: p.since, Failure: p.failure,
	}
	s.Window, s.ExplanationURL = p.advice.window(), p.advice.page()
	if p.poll.Before(p.renewal) {
		s.NextPoll = p.poll
	}
	if p.deferral != nil {
		s.Deferred = strings.TrimPrefix(p.deferral.Error(), "certmanager: ")
	}
	if c != nil {
		s.Issuer, s.Serial, s.NotBefore, s.NotAfter, s.EndOf = c.issuer, e.serial(), time.Unix(c.begin, 0).UTC(), c.end(), c.endOf
		s.Challenges, s.Validated, s.Imported = c.challenges.types(), c.validatedAt(), c.imported
		s.Copied, s.Renewal = c.copiedAt(), p.renewal
	}
	return s
}
