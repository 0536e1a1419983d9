package certmanager

import "time"

// Stats are the figures of a manager at one moment, such as a monitoring asks for. They are of all certificates that
// [Manager.All] has.
type Stats struct {
	States  map[State]int `json:"states"`  // certificates by state; no zeros
	Failing int           `json:"failing"` // whose last attempt failed

	// Loaded is how many are in memory: the others have none yet, or have left it for the storage (Config.MaxLoaded).
	Loaded int `json:"loaded"`
	// Overdue is how many should have been obtained or renewed by now, for whatever reason they are not.
	Overdue int `json:"overdue"`
	// NextDue is when the next action that lies in the future is due; zero: there is none.
	NextDue time.Time `json:"nextDue,omitzero"`
	// EarliestEnd is the first NotAfter of what is served, which may lie in the past; zero: nothing is served.
	EarliestEnd time.Time `json:"earliestEnd,omitzero"`

	Deferred map[Reason]int `json:"deferred"` // certificates whose next action waits for a reason, by reason; no zeros
	InFlight map[string]int `json:"inFlight"` // certificates that are being obtained, by Issuer.ID of all issuers
	Ready    int            `json:"ready"`    // certificates whose turn comes, for want of room
	Running  int            `json:"running"`  // certificates that are being loaded, obtained or renewed

	Swept int64 `json:"swept"` // records that this manager has deleted from the storage, as Config.SweepInterval says
}

// Stats counts the certificates. It goes through all of them without a copy, and holds nothing up: a million take some
// seconds at most.
func (m *Manager) Stats() Stats {
	s := Stats{States: make(map[State]int), Deferred: make(map[Reason]int), InFlight: make(map[string]int, len(m.issuers))}
	now := time.Now()
	for e := range m.entries() {
		s.count(e, now)
	}
	for _, issuer := range m.issuers {
		s.InFlight[issuer.ID()] = issuer.inFlight()
	}
	d := m.dispatcher.Stats()
	for _, n := range d.Ready {
		s.Ready += n
	}
	s.Running, s.Swept = d.Running, m.sweeper.swept.Load()
	return s
}

// count adds the entry to the figures.
func (s *Stats) count(e *entry, now time.Time) {
	p, c := e.progress.snapshot(now), e.held()
	s.States[p.standing(c, now)]++
	if e.served.Load() != nil {
		s.Loaded++
	}
	if p.failure != nil {
		s.Failing++
	}
	if reason := p.reason(now); reason != "" {
		s.Deferred[reason]++
	}
	if p.plan.Due.After(now) && (s.NextDue.IsZero() || p.plan.Due.Before(s.NextDue)) {
		s.NextDue = p.plan.Due
	}
	if c == nil || !now.Before(p.renewal) {
		s.Overdue++
	}
	if c != nil && (s.EarliestEnd.IsZero() || c.end().Before(s.EarliestEnd)) {
		s.EarliestEnd = c.end()
	}
}
