package budget_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/everseal/everseal/certmanager/internal/budget"
)

// A naiveBucket counts as a CA does: tokens, and when they were counted last.
type naiveBucket struct {
	limit  budget.Limit
	tokens float64
	at     time.Time
}

func (n *naiveBucket) advance(now time.Time) {
	if elapsed := now.Sub(n.at); elapsed > 0 {
		n.tokens = min(float64(n.limit.Count), n.tokens+float64(elapsed)/float64(n.limit.Interval()))
		n.at = now
	}
}

// Whatever is taken and given back, in whatever rhythm, a CA that counts each token up to a lag later has room for it; and
// no more than one token is withheld.
func TestAgainstNaiveBucket(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		limit := budget.Limit{Count: 1 + r.IntN(60), Per: time.Duration(1+r.IntN(200)) * time.Hour}
		lag := min(limit.Interval()/4, 10*time.Minute)
		ca := naiveBucket{limit, float64(limit.Count), begin}
		exact := naiveBucket{limit, float64(limit.Count), begin} // counts at once
		var b budget.Bucket
		now := begin
		var pending []time.Time // when the CA counts what was taken
		count := func(until time.Time) {
			for len(pending) > 0 && pending[0].Before(until) {
				ca.advance(pending[0])
				if ca.tokens--; ca.tokens < -1e-6 {
					t.Fatalf("seed %d, %v: the CA has %v tokens at %v", seed, limit, ca.tokens, pending[0].Sub(begin))
				}
				pending = pending[1:]
			}
		}
		for range 400 {
			now = now.Add(time.Duration(r.Float64() * r.Float64() * 3 * float64(limit.Interval())))
			arrival := now.Add(time.Duration(r.Float64() * float64(lag)))
			if len(pending) > 0 && arrival.Before(pending[len(pending)-1]) {
				arrival = pending[len(pending)-1]
			}
			count(now)
			exact.advance(now)
			room := limit.Room(b, budget.Urgent, now)
			if room < int(exact.tokens+1e-6)-1 {
				t.Fatalf("seed %d, %v: there is room for %d, though there are %v", seed, limit, room, exact.tokens)
			}
			n := min(room, 1+r.IntN(3))
			b = limit.Take(b, n, now)
			if n > 0 && r.IntN(4) == 0 {
				b = limit.GiveBack(b, 1, now, now)
				n--
			}
			exact.tokens -= float64(n)
			for range n {
				pending = append(pending, arrival)
			}
		}
		count(now.Add(week))
	}
}

// Two members whose clocks are minutes apart exceed a limit by no more than comes back in these minutes, and once.
func TestSkewedMembers(t *testing.T) {
	for _, skew := range []time.Duration{time.Minute, 5 * time.Minute, 40 * time.Minute} {
		limit := budget.Limit{Count: 300, Per: 3 * time.Hour}
		var b budget.Bucket
		taken := [2]int{}
		const hours = 24
		for tick := range hours * 3600 / 5 {
			member := tick % 2
			clock := begin.Add(time.Duration(tick)*5*time.Second + time.Duration(member)*skew)
			for limit.Room(b, budget.Urgent, clock) > 0 {
				b = limit.Take(b, 1, clock)
				taken[member]++
			}
		}
		most := limit.Count + hours*100 + int(skew/limit.Interval()) + 1
		if all := taken[0] + taken[1]; all > most || all < limit.Count+hours*100-2 {
			t.Errorf("clocks %v apart take %d (%v) in a day, want %d at most", skew, all, taken, most)
		}
	}
}

// A day of new names without end, with renewals among them: no renewal waits for longer than a token takes to come back.
func TestRenewalsAmongNewNames(t *testing.T) {
	limit := budget.Limit{Count: 300, Per: 3 * time.Hour}
	r := rand.New(rand.NewPCG(1, 2))
	var b budget.Bucket
	taken := map[budget.Class]int{}
	for now := begin; now.Before(begin.Add(24 * time.Hour)); now = now.Add(time.Second) {
		class := budget.New
		switch r.IntN(120) {
		case 0:
			class = budget.Early
		case 1:
			if r.IntN(4) == 0 {
				class = budget.Urgent
			}
		}
		room := limit.Room(b, class, now)
		if room > 0 {
			b = limit.Take(b, 1, now)
			taken[class]++
		} else if class != budget.New {
			t.Fatalf("class %d finds no room, %v after the begin", class, now.Sub(begin))
		}
	}
	if taken[budget.New] < 1000 {
		t.Errorf("%v were taken: new names get what is left", taken)
	}
}

// Ten thousand names of 300 domains, of two members, each with lines of its own for what it does not get: the slots are spaced,
// no token is lost, and all have had their turn in little more than the time that the limits take.
func TestTenThousandNames(t *testing.T) {
	limit := budget.Limit{Count: 300, Per: 3 * time.Hour}
	w := waitingNames{limit: limit, names: 10_000}
	took, wakeups := w.run(t, 2)
	least := limit.Interval() * time.Duration(w.names-limit.Count*9/10)
	t.Logf("%d names in %v, of %v at least; %d wake-ups", w.names, took, least, wakeups)
	if took > least*21/20 || wakeups > 6*w.names {
		t.Errorf("%d names take %v, of %v at least, with %d wake-ups", w.names, took, least, wakeups)
	}
}
