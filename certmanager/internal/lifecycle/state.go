package lifecycle

import (
	"math"
	"time"

	"github.com/everseal/everseal/certmanager/internal/schedule"
)

// A State is how one certificate stands. The zero State is that of one that was not loaded from the storage yet. It is
// not safe for concurrent use.
type State struct {
	validity
	command
	failures
	until int64 // nothing is due before; zero: nothing keeps it
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
	unheard    bool  // since the task under way began
	queued     bool  // for replacement, which nobody waits for
	loaded     bool  // the storage was asked; here, where there is room for it
	awaited    int32 // handshakes that wait
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
	if s.loaded && (s.commanded && (s.unheard || s.until == 0) || s.queued && s.until == 0) {
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
func (s *State) Stagger(r float64) {
	s.delay = int64(schedule.Member(time.Duration(s.end-s.begin)*time.Second, r))
}

// turn returns when this member is to renew what is served. What is urgent by then waits for nobody.
func (s *validity) turn() time.Time {
	due := fromInstant(s.renewal)
	if s.stageAt(due.Unix()) >= StageTenth {
		return due
	}
	return due.Add(time.Duration(s.delay))
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
	c.commanded, c.unheard, c.replaces = true, true, c.generation
}

// Await counts handshakes that wait (n is 1) and that have waited (n is -1).
func (c *command) Await(n int32) { c.awaited += n }

// Unload has the storage asked again, at once.
func (s *State) Unload() { s.loaded, s.until = false, 0 }

// Hasten makes what a failure or a deferral keeps waiting due.
func (s *State) Hasten() { s.until = 0 }

// Lose says that nothing is served any more, and has the storage asked again, at once.
func (s *State) Lose() {
	s.validity, s.stage = validity{}, 0
	s.Unload()
}

// Loaded reports whether the storage was asked.
func (s *State) Loaded() bool { return s.loaded }

// Failures returns how many attempts in a row have failed, and since when, in UTC.
func (s *failures) Failures() (n int, since time.Time) {
	if s.n == 0 {
		return 0, time.Time{}
	}
	return int(s.n), time.Unix(s.since, 0).UTC()
}

// A Task is what an attempt has to do.
type Task struct {
	Action    Action
	Commanded bool // a caller waits for it
	Forced    bool // the certificate is replaced though it is not due, nor a pause after a failure over
	Queued    bool // the certificate is replaced though it is not due, unless another has come since
	Quiet     bool // what goes wrong was told
}

// Begin returns what is to be done now. Finish is to be called when it is done.
func (s *State) Begin(now time.Time) Task {
	action := s.action()
	if s.polls(now) {
		action = Poll
	}
	s.unheard = false
	return Task{
		Action:    action,
		Commanded: s.commanded,
		Forced:    s.commanded && s.replaces == s.generation,
		Queued:    s.queued,
		Quiet:     s.n >= loudFailures,
	}
}

// toldLately reports whether a failure was told not long ago.
func (s *failures) toldLately(now time.Time) bool {
	since := now.Unix() - s.told
	return since >= 0 && since < int64(toldInterval/time.Second)
}

// A Kind is what came of a task.
type Kind uint8

// The kinds of result.
const (
	Loaded   Kind = iota // the storage was asked, and Serve called if it had something
	Obtained             // a new certificate was stored
	Current              // another process was faster
	Deferred             // not now, and nothing is wrong with this certificate
	Failed
	Polled // it was asked when to renew, or could not be
)

// A Result is what came of a task.
type Result struct {
	Kind  Kind
	Until time.Time // of Deferred and Failed: when to try again; zero with Failed: the pauses grow from a second to ten minutes
	// Hindered says that it was deferred for what is wrong with all certificates alike.
	Hindered bool
	// Waited says of Failed that nothing was tried, for the time of an earlier failure is not over: who has called Command
	// since the task began is not answered by it.
	Waited bool
}

// A Report is what follows from a result, besides the next plan.
type Report struct {
	Answered bool  // callers of Command are answered
	Tell     bool  // the failure is to be told
	Stage    Stage // the certificate that is served came to this stage, and its renewal fails or is hindered; else zero
}

// Finish notes what came of a task. The random number r in [0,1) spreads the next attempt.
func (s *State) Finish(result Result, now time.Time, r float64) Report {
	switch result.Kind {
	case Loaded: // what the storage had is what those who came before want replaced
		s.loaded, s.until, s.n, s.replaces = true, 0, 0, s.generation
		s.queued = s.queued && s.end != 0
		return Report{}
	case Deferred:
		s.until = instant(result.Until)
		if result.Hindered {
			return Report{Stage: come(s, now)}
		}
		return Report{}
	case Polled:
		s.polled(now)
		return Report{}
	case Failed:
		return s.fail(result, now, r)
	}
	s.loaded, s.until, s.n, s.stage = true, 0, 0, 0
	report := Report{Answered: s.commanded && s.replaces != s.generation} // who came too late waits for the next task
	s.commanded = s.commanded && !report.Answered
	return report
}

// fail notes a failure.
func (s *State) fail(result Result, now time.Time, r float64) Report {
	until := result.Until
	if s.n == 0 {
		s.since = now.Unix()
	}
	if s.n < math.MaxInt32 {
		s.n++
	}
	if until.IsZero() {
		until = now.Add(schedule.TransientBackoff(int(s.n), r))
	}
	s.until = instant(until)
	report := Report{Answered: s.commanded && s.loaded && !(result.Waited && s.unheard)}
	s.commanded = s.commanded && !report.Answered
	report.Stage = come(s, now)
	if report.Stage != 0 || s.n <= loudFailures || !s.toldLately(now) {
		report.Tell, s.told = true, now.Unix()
	}
	return report
}
