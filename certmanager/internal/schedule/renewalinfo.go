package schedule

import "time"

const (
	// The last part of the lifetime is for what may go wrong, whatever the CA suggests.
	backstop = 10

	firstPoll        = 3 * time.Hour // after a certificate was obtained, and up to twice that
	maxPollDoublings = 4
	firstPollBackoff = time.Minute
	maxPollBackoff   = 6 * time.Hour
)

// Latest returns when a certificate that is valid from notBefore to notAfter is to be renewed at the latest, whatever its CA
// suggests: when a tenth of its lifetime is left.
func Latest(notBefore, notAfter time.Time) time.Time {
	if lifetime := notAfter.Sub(notBefore); lifetime > 0 {
		return notAfter.Add(-lifetime / backstop)
	}
	return notBefore
}

// A Span is one of time.
type Span struct{ Start, End time.Time }

// Suggested returns when to renew a certificate that is valid for a span, for which the CA suggests the window (RFC 9773 §4.2):
// as planned, if that lies in the window, or else at an instant of the window that the random number r in [0,1) chooses uniformly.
// So a choice that was made is kept until the CA changes its mind. What the window has beyond Latest, or before the certificate
// is valid, does not count, nor does its end, where the turn of a Member were beyond it: a CA's limits except only what is renewed
// within. A window that lies in the past gives a time in the past.
func Suggested(window, valid Span, planned time.Time, r float64) time.Time {
	latest, turn := Latest(valid.Start, valid.End), Member(valid.End.Sub(valid.Start), 1)
	last := window.End.Add(-min(turn, max(0, window.End.Sub(window.Start)/2)))
	start, end := within(window.Start, valid.Start, latest), within(last, valid.Start, latest)
	if !planned.Before(start) && !planned.After(end) {
		return planned
	}
	if !end.After(start) {
		return start
	}
	return start.Add(part(end.Sub(start), r))
}

// within returns the time, or the bound that it lies beyond.
func within(t, first, last time.Time) time.Time {
	switch {
	case t.After(last):
		return last
	case t.Before(first):
		return first
	}
	return t
}

// FirstPoll returns how long after a certificate was obtained its CA is asked for the first time when to renew it: from three to
// six hours, of which the random number r in [0,1) chooses uniformly. For each certificate in a row before it that its CA
// wanted replaced early, twice as long, up to four days: a CA that wants all replaced at once, by mistake, gets no more.
func FirstPoll(early int, r float64) time.Duration {
	least := firstPoll << min(max(early, 0), maxPollDoublings)
	return least + part(least, r)
}

// PollBackoff returns how long to wait before a CA is asked again when to renew certificates, after the given number of
// failures in a row: a minute after the first, twice as much after each further one, and six hours at most. The random
// number r in [0,1) adds up to a quarter of that. A number of failures below one counts as one.
func PollBackoff(failures int, r float64) time.Duration {
	least := firstPollBackoff
	for i := 1; i < failures && least < maxPollBackoff; i++ {
		least *= 2
	}
	least = min(least, maxPollBackoff)
	return least + part(least/4, r)
}
