package certmanager

import (
	"slices"
	"time"
)

// A Status is what the manager knows of one certificate.
type Status struct {
	Names     []string
	KeyType   KeyType
	OnDemand  bool // obtained for a client that asked, not configured
	State     State
	Issuer    string    // ID of the issuer that signed it; this and the next three are zero without a certificate
	Serial    string    // hexadecimal
	NotBefore time.Time // UTC
	NotAfter  time.Time // UTC
	Action    Action    // what comes next
	Next      time.Time // when
	Failure   *Failure  // the last attempt's; nil: it succeeded, or there was none
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
	ActionObtain Action = "obtain" // the first certificate
	ActionRenew  Action = "renew"
	ActionRetry  Action = "retry" // what failed
)

// A Failure is why an attempt failed, and when.
type Failure struct {
	Time time.Time
	Err  error
}

// Status returns how each certificate under management stands, sorted by name.
func (m *Manager) Status() []Status {
	m.mu.Lock()
	seen := make(map[*managed]bool, len(m.byName))
	for _, c := range m.byName {
		seen[c] = true
	}
	m.mu.Unlock()
	all := make([]Status, 0, len(seen))
	now := time.Now()
	for c := range seen {
		all = append(all, c.status(now))
	}
	slices.SortFunc(all, func(a, b Status) int { return slices.Compare(a.Names, b.Names) })
	return all
}

func (c *managed) status(now time.Time) Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Status{
		Names: c.names(), KeyType: c.keyType, OnDemand: c.wanted,
		State: StateWaiting, Action: c.action, Next: c.next, Failure: c.failure,
	}
	if c.working {
		s.State = StateObtaining
	}
	if r := c.current; r != nil {
		s.Issuer, s.Serial = r.meta.Issuer, r.serial
		s.NotBefore, s.NotAfter = r.notBefore, r.notAfter
		switch {
		case now.After(r.notAfter):
			s.State = StateExpired
		case c.working:
			s.State = StateRenewing
		default:
			s.State = StateValid
		}
	}
	return s
}
