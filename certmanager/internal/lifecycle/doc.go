// Package lifecycle decides, for one certificate, what is due when and how urgently, and how loudly a failure is told.
// It is pure: times and chance are passed in, and nothing else is touched. Package certmanager does what is due, and
// says what came of it.
//
//	plan := state.Plan(now)      // what, when, how urgent
//	task := state.Begin(now)     // at that time: what to do
//	…                            // it is done
//	report := state.Finish(result, now, rand.Float64())
//
// # States
//
// A certificate is first to be loaded from the storage. If there is none it is due to be obtained at once, else to be
// renewed at the time that [State.Serve] was told. A failure, or a deferral (another process has the lease, the issuer
// can't be asked at the moment), sets the time before which nothing is due; [State.Command] is a caller who wants the
// certificate replaced whatever its age, at once, and waits for that. A caller is answered when the certificate that was
// served when it came has been replaced, or an attempt has failed. Only a deferral of a task that began after it came has it
// wait longer. [State.Queue] wants the same without waiting: the replacement is due at once, as urgent as any renewal, and
// after a failure when that says.
//
// # Polls
//
// While a certificate is served and nothing is wrong, its issuer may be asked now and then when to renew it: [State.PollAt] says
// when next, [State.Move] what came of it. A poll is the least urgent of all. There is none when the renewal comes before it, or
// anything else is due.
//
// # Results
//
// [Obtained] and [Current] end what failed before. [Deferred] is no failure: it counts nothing. [Failed] counts, and comes
// with the time of the next attempt, which the issuer's answers and the failures so far decide, or without one if the
// storage or the policy failed: then the pauses grow from a second to ten minutes.
//
// # How loudly
//
// The first three failures in a row are told, and then one in twelve hours; as the end of the certificate that is served
// comes near, each of its stages (a third of the lifetime left, a tenth, none) is told once as something worse, also if
// its renewal is deferred for what is wrong with all. A third is what is left when renewals begin, so that this stage is
// told after the first three failures if they have lasted for a thousandth of the lifetime, or if the renewal is late by a fiftieth.
package lifecycle
