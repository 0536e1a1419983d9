// Package budget counts how often a CA may be asked, as the generic cell rate algorithm does: of a token bucket, one time
// is kept, at which it is full again. It is pure: times are passed in, and nothing is stored here.
//
//	limit := budget.Limit{Count: 50, Per: 7 * 24 * time.Hour}
//	if limit.Room(bucket, budget.New, now) > 0 {
//		bucket = limit.Take(bucket, 1, now)
//	}
//
// # Classes
//
// No queue is kept anywhere. What is urgent never starves behind what is not, because the latter leaves some of the tokens:
// a tenth is for renewals and handshakes, and half of that for what is most urgent. A small limit leaves none.
//
// # Late
//
// A CA counts what it is asked for when that arrives, and certificates when they are issued, which is later than a token was
// taken. Tokens therefore come back late: by a quarter of the time between two of them, ten minutes at most.
//
// # Clocks
//
// Those of a fleet differ. A bucket that was filled by a clock ahead of the others is full later, by the difference. What
// lies so far ahead that no clock that is about right can have led to it is not believed: the bucket is taken to be full.
//
// # Lines
//
// Who has to wait gets a slot in a [Line], one after another as the tokens come back. Lines are those of one process: if
// several have theirs for one bucket, some come in vain, and stand in another line, which is short.
package budget
