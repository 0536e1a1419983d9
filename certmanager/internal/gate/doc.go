// Package gate decides whether an issuer may be asked at the moment.
//
// A thousand names that each back off by themselves ask a CA that is down a thousand times in the first minute, and
// each of them is refused for what only their common account did. A [Gate] stands before one issuer, for all that ask
// it: [Gate.Enter] lets an attempt pass or says until when it is closed, and the pass tells how the issuer fared.
//
// # Fresh
//
// As long as the issuer has never answered, few attempts are let in at once, and twice as many with each second. One that
// is down, or refuses the account, is so found out by a few. One that hangs keeps the others waiting for seconds, not
// for as long as it hangs. After its first answer all may enter.
//
// # Closed
//
// An [Outage] closes the gate for ten seconds at first and then for a minute, or for as long as the issuer asks, which is
// believed up to an hour, and for a rate limit up to eight days. It does so only if the attempt was let in after the last answer that any attempt had: what fails late of an earlier outage is no
// news. The minute does not grow. One probe a minute is no burden to an issuer, and it is what all names wait for.
//
// A [Refusal] of all names alike, such as of the account, closes it for as long as [schedule.RefusalBackoff] says, which
// grows, and never for less than the issuer asks, which is believed up to eight days: the limits of Let's Encrypt go to
// seven.
//
// What the issuer asks for beyond that does not keep an attempt out for longer than half of what its certificate still had
// when the gate was closed, unless it is a limit on how often the issuer may be asked.
//
// When the time is over, one attempt is let in as a probe. The others stay out until the issuer has answered it,
// or for a minute more. An answer opens the gate. After a refusal only the answer to an attempt that was let in later
// does: an order made before the account ran into its limit may well be finished after it.
//
// # Time
//
// A Gate has neither timers nor goroutines. It is told the time, as [time.Now] gives it.
package gate
