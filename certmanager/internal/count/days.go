package count

import "time"

// Days are how often something happened on each of the last 30 days, of UTC. The zero value is ready. It is not safe for
// concurrent use.
type Days[T any] struct {
	numbers [NumDays]int64 // days since 1970
	days    [NumDays]T
}

// NumDays is how many days are remembered, the current one among them.
const NumDays = 30

const day = 24 * time.Hour

// At returns what is counted for the day of the time, which is now: what was there for the day thirty days before is forgotten.
func (d *Days[T]) At(now time.Time) *T {
	number := numberOf(now)
	i := index(number)
	if d.numbers[i] != number {
		var none T
		d.numbers[i], d.days[i] = number, none
	}
	return &d.days[i]
}

// All calls f with each of the last 30 days, the oldest first, and what was counted.
func (d *Days[T]) All(now time.Time, f func(date time.Time, counted T)) {
	last := numberOf(now)
	for number := last - NumDays + 1; number <= last; number++ {
		var counted T
		if i := index(number); d.numbers[i] == number {
			counted = d.days[i]
		}
		f(time.Unix(number*int64(day/time.Second), 0).UTC(), counted)
	}
}

func numberOf(t time.Time) int64 { return t.Unix() / int64(day/time.Second) }

func index(number int64) int { return int((number%NumDays + NumDays) % NumDays) }
