// Package dispatch runs tasks when they are due: the urgent ones first, and fairly among groups.
//
// # What it keeps
//
// A task says by its Plan when it is due and how urgent it is then. A [Dispatcher] asks for the plan when it is told of a
// change (Update), and when the task's Do has returned. Between the two a task is in one of these states, which its
// embedded [Place] holds:
//
//	idle     not queued: not told of, not planned, or removed
//	waiting  due in the future: in a heap by due time, eight bytes for a pointer
//	ready    due: in its group's queue of its urgency
//	running  at work, on a goroutine of its own
//
// A running task leaves that state only when Do returns, and its plan is asked for after that. So no task is at work twice
// at once, and no Update is lost: the change it reports was made before it, and shows in the plan.
//
// # What starts next
//
// Of the ready tasks the most urgent starts first; of these the one whose group has the fewest at work; of these
// the one at the head of the queue that has been ready for longest. A group's queue is first come, first served. How long
// ago a task was due does not count. A task whose urgency changes while it is ready joins the end of the
// other queue. The queues' heads are in one heap, so that each start and each end takes time logarithmic in the number of
// groups, whether a million tasks are of one group or of a million.
//
// Tasks that become due at one instant are made ready in portions of about a thousand, so that the lock is not held
// for long; only what is ready is compared.
//
// # Room
//
// Workers is how many tasks are at work at once. Three rules keep those that hang from starving the others:
//
//   - A task that has been at work for longer than Patience no longer counts, up to eight times Workers of such slow ones.
//   - No group has more than three quarters of all room at work, that is of nine times Workers, however urgent its tasks.
//   - Tasks of an urgency below Urgent have a quarter of Workers, at least four, on top: they start when all else is taken.
//
// # Clocks
//
// Due times are instants of the wall clock, as the dates in certificates are. A timer, on the other hand, counts the
// monotonic clock, and on some systems (Linux among them) that clock stands still while the machine is suspended. Run
// therefore sets its one timer to ten minutes at most and looks at the wall clock again; that also bounds how late a
// clock that was set forward is noticed. Where the wall clock is found to have been set back, by more than a minute,
// all that waits becomes due that much earlier: what comes too early can be planned again, what was planned by a clock
// years ahead would not come in time. Between due times nothing else runs.
//
// # Locks
//
// The dispatcher has one lock. Plan and Group are called under it, so it comes before any that they take: nobody may call
// the dispatcher while holding one of those. Do is called without it.
package dispatch
