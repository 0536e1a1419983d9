package lifecycle

import "time"

// minPollPause is between two polls, whatever came of the first.
const minPollPause = time.Second

// Renewal returns when the certificate that is served is to be renewed.
func (s *validity) Renewal() time.Time { return fromInstant(s.renewal) }

// Move has the certificate that is served renewed at another time.
func (s *validity) Move(renewal time.Time) { s.renewal = instant(renewal) }

// NextPoll returns when it is to be asked next whether the time of renewal stands; zero: it is not.
func (s *validity) NextPoll() time.Time {
	if s.poll == 0 {
		return time.Time{}
	}
	return fromInstant(s.poll)
}

// PollAt says when it is to be asked next whether the time of renewal stands; zero: it is not.
func (s *validity) PollAt(t time.Time) {
	if s.poll = 0; !t.IsZero() {
		s.poll = instant(t)
	}
}

// polls reports whether a poll comes next: before the renewal, and while nobody wants anything else and nothing has failed.
func (s *State) polls(now time.Time) bool {
	isIdle := s.loaded && s.end != 0 && s.n == 0 && s.until == 0 && !s.commanded && !s.queued && s.awaited <= 0
	return isIdle && s.poll != 0 && s.poll < s.renewal && instant(now) < s.renewal
}

// polled notes that a poll has ended: the next one is not at once.
func (s *validity) polled(now time.Time) {
	if least := instant(now.Add(minPollPause)); s.poll != 0 && s.poll < least {
		s.poll = least
	}
}
