package lifecycle

import "time"

// Failures in a row that are told each; of the further ones, one in an interval is.
const (
	loudFailures = 3
	toldInterval = 12 * time.Hour
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

// stageAt returns the stage of the certificate that is served at a time, in seconds since 1970.
func (s *State) stageAt(at int64) Stage {
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
