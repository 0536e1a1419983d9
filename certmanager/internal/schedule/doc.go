// Package schedule decides when the manager's work is due. Its functions are pure: they take the time, and their
// randomness, as arguments.
//
// [Renewal] says when a certificate ought to be renewed, [AfterIssuance] when at the earliest, [TransientBackoff] and
// [RefusalBackoff] say how long to wait after a failure. Randomness is a number of [0,1) such as rand.Float64 returns; so a
// caller that keeps what was decided need not keep how. Each decision is jittered, so that many certificates obtained in
// one hour, or many servers that saw one outage, do not come back in one hour, or all at once.
//
// What the CA itself says goes before these: [Suggested] chooses from the window of its renewal information (RFC 9773), and
// [FirstPoll] and [PollBackoff] say when to ask for that. The Retry-After of its answers (RFC 8555, section 6.6) is not this
// package's business.
package schedule
