package lifecycle

import (
	"math"
	"time"

	"github.com/everseal/everseal/certmanager/internal/schedule"
)

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
	s.fresh = false
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
	report := Report{Answered: s.commanded && s.loaded && !(result.Waited && s.fresh)}
	s.commanded = s.commanded && !report.Answered
	report.Stage = come(s, now)
	if report.Stage != 0 || s.n <= loudFailures || !s.toldLately(now) {
		report.Tell, s.told = true, now.Unix()
	}
	return report
}
