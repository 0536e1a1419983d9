package schedule

import "time"

// Of a shorter lifetime a third is too little to get over a CA's bad days.
const shortLifetime = 10 * 24 * time.Hour

// Renewal returns when a certificate that is valid from notBefore to notAfter ought to be renewed: when nine to eleven
// sixteenths of its lifetime have passed, or eight to nine of one that is shorter than ten days. The random number r in [0,1) chooses
// uniformly from that: of 90 days, from 15 hours after the fiftieth to 21 hours after the sixty-first. What many names
// obtained in one hour is spread by it over days at the first renewal, and over more with each. An r outside of [0,1) counts
// as the nearer end of it. The result is before notAfter and not before notBefore; a lifetime that is empty or
// negative gives notBefore.
func Renewal(notBefore, notAfter time.Time, r float64) time.Time {
	lifetime := notAfter.Sub(notBefore)
	if lifetime <= 0 {
		return notBefore
	}
	earliest, latest := lifetime/16*9, lifetime/16*11
	if lifetime < shortLifetime {
		earliest, latest = lifetime/2, lifetime/16*9
	}
	return notBefore.Add(earliest + part(max(0, latest-earliest), r))
}

// AfterIssuance returns a due time, as Renewal gave it, or a later one: a certificate that has just been obtained is not to
// be renewed before half of what is left of its lifetime has passed, however much the clocks of CA and machine disagree
// and whatever the CA has backdated. The random number r spreads what is moved over a sixteenth of what is left. An
// obtained time that is not before notAfter changes nothing.
func AfterIssuance(due, obtained, notAfter time.Time, r float64) time.Time {
	left := notAfter.Sub(obtained)
	earliest := obtained.Add(left / 2)
	if left <= 0 || !due.Before(earliest) {
		return due
	}
	return earliest.Add(part(left/16, r))
}

const (
	memberPart    = 100              // of the lifetime, the members of a fleet spread a renewal over this part
	longestMember = 10 * time.Minute // and no longer
)

// Member returns how much later than its due time a member of a fleet is to renew a certificate with the lifetime: one
// member comes first, and when the turn of the others comes they know of what it obtained. The random number r in [0,1)
// is the member's own. It chooses uniformly from a hundredth of the lifetime, ten minutes at most: three seconds of five
// minutes, which is no loss for a server that has no others beside it. A lifetime that is empty or negative gives nothing.
func Member(lifetime time.Duration, r float64) time.Duration {
	return part(max(0, min(lifetime/memberPart, longestMember)), r)
}

// part returns the part r of d, from nothing to all of it.
func part(d time.Duration, r float64) time.Duration {
	if !(r > 0) { // NaN too
		return 0
	}
	return time.Duration(min(r, 1) * float64(d))
}
