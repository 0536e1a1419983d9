package lifecycle

import "time"

// Failures in a row that are told each; of the further ones, one in an interval is.
const (
	loudFailures = 3
	toldInterval = 12 * time.Hour
)

// Parts of a lifetime without a word that its last third has come.
const (
	patience = 50   // by which a renewal may be late
	brief    = 1000 // for which one may fail again and again: an hour of 45 days
)

// A Stage is how near the end of a certificate is. The zero Stage is that of one that has more than a third of its
// lifetime left, or that is not there.
type Stage uint8

// The stages.
const (
	StageThird   Stage = iota + 1 // at most a third of the lifetime is left
	StageTenth                    // at most a tenth
	StageExpired                  // nothing
)

// Stage returns the stage of the certificate that is served.
func (s *validity) Stage(now time.Time) Stage { return s.stageAt(now.Unix()) }

// stageAt returns the stage at a time, in seconds since 1970.
func (s *validity) stageAt(at int64) Stage {
	left, lifetime := s.end-at, s.end-s.begin
	switch {
	case s.end == 0:
		return 0
	case left <= 0:
		return StageExpired
	case left > lifetime/3:
		return 0
	case left <= lifetime/10:
		return StageTenth
	}
	return StageThird
}

// come returns the stage that the certificate has come to, if it is to be told: each is once. That a third is left is when
// renewals begin: it is told if one fails again and again, and not for a moment only, or has not come for long.
func come(s *State, now time.Time) Stage {
	at, lifetime := now.Unix(), s.end-s.begin
	stage := s.stageAt(at)
	few := s.n <= loudFailures || at-s.since < lifetime/brief
	early := stage == StageThird && few && at-s.renewal/int64(time.Second) < lifetime/patience
	if stage < s.stage {
		s.stage = stage // of another certificate
	}
	if stage <= s.stage || early {
		return 0
	}
	s.stage = stage
	return stage
}
