// Package schedule decides when the manager's work is due, and waits for it.
//
// # Waiting
//
// A [Queue] is a heap of due times by key. Nothing scans it: [Queue.Next] sleeps until the earliest due time, or until
// an earlier one is set, so that a million certificates of which none is due cost no more than an empty queue.
//
// Due times are instants of the wall clock, as the dates in certificates are. A timer, on the other hand, counts the
// monotonic clock, and on some systems (Linux among them) that clock stands still while the machine is suspended. A
// laptop that slept through a due time would notice it as late as it slept long. Next therefore sets no timer for
// longer than ten minutes and looks at the wall clock again; that also bounds how late a clock that was set
// forward is noticed.
//
// # Deciding
//
// The other functions are pure: [Renewal] says when a certificate ought to be renewed, [TransientBackoff] and
// [RefusalBackoff] say how long to wait after a failure. They take their randomness as an argument, a number of
// [0,1) such as rand.Float64 returns; so a caller that keeps what was decided need not keep how. Each
// decision is jittered, so that many certificates obtained in one hour, or many servers that saw one outage, do not
// come back in one hour, or all at once.
//
// What the CA itself says goes before any of these: the window of its renewal information (RFC 9773) and the
// Retry-After of its answers (RFC 8555, section 6.6) are not this package's business.
package schedule
