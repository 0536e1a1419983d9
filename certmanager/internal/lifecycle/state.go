package lifecycle

import (
	"time"

	"github.com/everseal/everseal/certmanager/internal/schedule"
)

// A State is how one certificate stands. The zero State is that of one that was not loaded from the storage yet. It is
// not safe for concurrent use.
type State struct {
	validity
	command
	failures
	pause
}

// A validity is that of what is served.
type validity struct {
	begin, end int64 // seconds since 1970; end is zero if nothing is served
	renewal    int64 // when it is to be renewed, as instant returns it
	poll       int64 // when it is to be asked next whether that stands, likewise; zero: it is not
	delay      int64 // by which this member of the fleet does so later, in nanoseconds
}

// A command is what callers want, and handshakes that wait.
type command struct {
	generation int32 // counts what was served
	replaces   int32 // the generation that is to be replaced
	commanded  bool  // somebody waits
	fresh      bool  // somebody came since the task under way began
	queued     bool  // for replacement, which nobody waits for
	loaded     bool  // the storage was asked; here, where there is room for it
	awaited    int32 // handshakes that wait
}

// A pause is what keeps waiting what would be due.
type pause struct {
	until int64 // nothing is due before; zero: nothing keeps it
}

// Failures are those in a row.
type failures struct {
	n     int32
	stage Stage // that was told last
	since int64 // when the first was, seconds since 1970
	told  int64 // when one of them was told last, seconds since 1970
}

// An Action is what is due.
type Action uint8

// The actions.
const (
	Load   Action = iota // see what the storage has
	Obtain               // the first certificate
	Renew
	Retry // obtain or renew after a failure
	Poll  // ask when to renew
)

// An Urgency says what goes first. Smaller ones do.
type Urgency uint8

// The urgencies.
const (
	Handshake Urgency = iota // a client waits
	Commanded                // a caller waits
	Loading                  // the storage was not asked yet
	Expired
	Expiring // a tenth of the lifetime is left
	New      // there is no certificate yet
	Early    // there is time
	Polling  // nothing is to be renewed yet
)

// A Plan is what is due next.
type Plan struct {
	Action  Action
	Due     time.Time // a time in the past: at once
	Urgency Urgency   // when it is due
}

// Plan returns what is due next.
func (s *State) Plan(now time.Time) Plan {
	if s.polls(now) {
		return Plan{Action: Poll, Due: fromInstant(s.poll), Urgency: Polling}
	}
	return s.Work(now)
}

// Work returns what is due next besides a poll.
func (s *State) Work(now time.Time) Plan {
	p := Plan{Action: s.action(), Due: now}
	switch {
	case s.until != 0:
		p.Due = fromInstant(s.until)
	case s.loaded && s.end != 0:
		p.Due = s.turn()
	}
	if s.loaded && (s.commanded && (s.fresh || s.until == 0) || s.queued && s.until == 0) {
		p.Due = now
	}
	p.Urgency = s.urgency(later(p.Due, now).Unix())
	return p
}

func (s *State) action() Action {
	switch {
	case !s.loaded:
		return Load
	case s.n > 0:
		return Retry
	case s.end != 0:
		return Renew
	}
	return Obtain
}

// urgency returns that at a time, in seconds since 1970.
func (s *State) urgency(at int64) Urgency {
	switch {
	case s.awaited > 0:
		return Handshake
	case s.commanded:
		return Commanded
	case !s.loaded:
		return Loading
	case s.end == 0:
		return New
	}
	switch s.stageAt(at) {
	case StageExpired:
		return Expired
	case StageTenth:
		return Expiring
	}
	return Early
}

// Serve says that a certificate is served from now on, valid from begin to end, and to be renewed at renewal. There are no
// polls until PollAt says when.
func (s *State) Serve(begin, end, renewal time.Time) {
	s.validity, s.stage = validity{begin: begin.Unix(), end: end.Unix(), renewal: instant(renewal)}, 0
	s.generation++
	s.queued = s.queued && !s.loaded
}

// Stagger has this member of a fleet renew what is served somewhat later than others do. The random number r in [0,1) is
// its own. See [schedule.Member].
func (s *validity) Stagger(r float64) {
	s.delay = int64(schedule.Member(time.Duration(s.end-s.begin)*time.Second, r))
}

// turn returns when this member is to renew what is served. It is not put off into the last tenth of the lifetime, and what is
// due then waits for nobody.
func (s *validity) turn() time.Time {
	due := fromInstant(s.renewal)
	turn, tenth := due.Add(time.Duration(s.delay)), time.Unix(s.end-(s.end-s.begin)/10, 0).UTC()
	if turn.After(tenth) {
		return later(due, tenth)
	}
	return turn
}

// Queue wants the certificate that is served replaced, or that which the storage has if it was not asked yet. Nobody
// waits for it: its urgency is what it were without, and pauses after failures are kept. A state without a certificate
// that was loaded is left as it is.
func (s *State) Queue() { s.queued = !s.loaded || s.end != 0 }

// Queued reports whether the certificate is still to be replaced, since no other is served yet.
func (c *command) Queued() bool { return c.queued }

// Command wants the certificate that is served replaced, or that which the storage has if it was not asked yet. Callers
// are to wait until a Report says that they are answered.
func (c *command) Command() {
	c.commanded, c.fresh, c.replaces = true, true, c.generation
}

// Await counts handshakes that wait (n is 1) and that have waited (n is -1).
func (c *command) Await(n int32) { c.awaited += n }

// Unload has the storage asked again, at once.
func (s *State) Unload() { s.loaded, s.until = false, 0 }

// Hasten makes what a failure or a deferral keeps waiting due.
func (p *pause) Hasten() { p.until = 0 }

// Advance has what waits until a time come earlier, if that is later than another.
func (p *pause) Advance(until time.Time) { p.until = min(p.until, instant(until)) }

// Lose says that nothing is served any more, and has the storage asked again, at once.
func (s *State) Lose() {
	s.validity, s.stage = validity{}, 0
	s.Unload()
}

// Loaded reports whether the storage was asked.
func (c *command) Loaded() bool { return c.loaded }

// Failures returns how many attempts in a row have failed, and since when, in UTC.
func (s *failures) Failures() (n int, since time.Time) {
	if s.n == 0 {
		return 0, time.Time{}
	}
	return int(s.n), time.Unix(s.since, 0).UTC()
}
