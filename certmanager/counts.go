package certmanager

import "time"

// Counts are what a manager has counted since New made it. All that is counted by has few values, whatever clients and
// CAs send.
type Counts struct {
	Since time.Time `json:"since"` // when the manager was made, in UTC

	// Handshakes that asked for a certificate, by what they got: all outcomes, zeros too. Clients that resume a session ask
	// for none.
	Handshakes map[Outcome]int64 `json:"handshakes"`

	Obtained int64                 `json:"obtained"` // first certificates that this manager has obtained
	Renewed  int64                 `json:"renewed"`  // certificates that it has obtained in place of others
	Failures map[FailureKind]int64 `json:"failures"` // attempts to load, obtain or renew that failed: all kinds, zeros too

	Requests []Requests           `json:"requests"` // made of CAs by ACME issuers, by issuer and action
	Storage  map[string]CallCount `json:"storage"`  // calls of the storage: "load", "save", "delete", "list" and "scan"

	Days []Day `json:"days"` // the last 30 days, the oldest first and today the last; zeros from before Since
}

// An Outcome is what a handshake got that asked for a certificate.
type Outcome string

// The outcomes of handshakes.
const (
	OutcomeServed    Outcome = "served"    // a certificate of the manager's
	OutcomeChallenge Outcome = "challenge" // the answer to a CA's tls-alpn-01 validation
	OutcomeFallback  Outcome = "fallback"  // what Config.Fallback, or the server that Serve was given, has
	OutcomeUnknown   Outcome = "unknown"   // nothing: the name is not managed, and is not to be
	OutcomeFailed    Outcome = "failed"    // an error, such as that there is no certificate yet
)

// A FailureKind is what an attempt failed for.
type FailureKind string

// The kinds of failure.
const (
	FailureValidation FailureKind = "validation" // the CA could not validate the control of a name
	FailureSolver     FailureKind = "solver"     // what the CA is to validate could not be published
	FailureRefusal    FailureKind = "refusal"    // the CA refuses the order or the name for another reason
	FailureRateLimit  FailureKind = "rateLimit"  // by the CA's word a limit is reached
	FailureIssuer     FailureKind = "issuer"     // the issuer fails for all names, such as one that is down or refuses the account
	FailureStorage    FailureKind = "storage"    // it can't be read or written
	FailureKeys       FailureKind = "keys"       // Config.Keys fails
	FailurePolicy     FailureKind = "policy"     // Config.OnDemand denies the name, or gives no answer
	FailureOther      FailureKind = "other"
)

// failureKinds returns all of them.
func failureKinds() []FailureKind {
	return []FailureKind{FailureValidation, FailureSolver, FailureRefusal, FailureRateLimit, FailureIssuer, FailureStorage, FailureKeys, FailurePolicy, FailureOther}
}

// Requests are the HTTP requests that an ACME issuer has made of its CA with one action. A redirect that is followed is
// no request of its own.
type Requests struct {
	Issuer    string        `json:"issuer"`    // ID, also of a staging environment that is asked for dry runs
	Action    string        `json:"action"`    // see acme.Exchange
	Statuses  map[int]int64 `json:"statuses"`  // by HTTP status, 0 if no answer came; those that HTTP has no name for stand as the first of their hundred
	Durations Histogram     `json:"durations"` // of all of them, also those without an answer
}

// A Histogram counts durations in buckets. In JSON they are numbers of nanoseconds.
type Histogram struct {
	Bounds []time.Duration `json:"bounds"` // the longest duration of each bucket but the last, which has all that are longer
	Counts []int64         `json:"counts"` // of each bucket alone: one more than Bounds
	Sum    time.Duration   `json:"sum"`
}

// A CallCount is how often something was called, and failed. That a record is not there, or has changed, is no failure of
// the storage.
type CallCount struct {
	Calls  int64 `json:"calls"`
	Errors int64 `json:"errors"`
}

// A Day is what this manager did on one day.
type Day struct {
	Date     time.Time `json:"date"`     // when it began, in UTC
	Obtained int       `json:"obtained"` // first certificates
	Renewed  int       `json:"renewed"`
	Failed   int       `json:"failed"` // attempts
}

// Counts returns what was counted so far. It costs little, however many certificates there are.
func (m *Manager) Counts() Counts {
	if m.store == nil {
		return Counts{}
	}
	c := Counts{Since: m.counters.since, Requests: m.counters.requests.all(), Storage: m.counters.calls.all()}
	c.Handshakes = make(map[Outcome]int64)
	for i, outcome := range outcomes() {
		c.Handshakes[outcome] = m.counters.handshakes.Count(uint8(i))
	}
	m.counters.attempts.read(&c)
	return c
}
