package gate

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"
)

// A history is what was done to a gate, by which it is judged.
type history struct {
	t    *testing.T
	rand *rand.Rand
	gate Gate
	now  time.Time
	out  []entry

	number    int // of the last pass
	answered  int // number, when the issuer last answered
	failed    int // number, at the last outage or refusal that was news; 0: none since an answer that opens
	refused   bool
	lastEntry time.Time
}

type entry struct {
	pass   *Pass
	number int
}

// TestRandomSequences has attempts enter and end at random. Whatever their sequence: while the gate is closed the passes
// are ten seconds apart at first and then a minute, it is closed for eight days at most, it opens by itself and by an answer.
func TestRandomSequences(t *testing.T) {
	for seed := range uint64(500) {
		h := &history{t: t, rand: rand.New(rand.NewPCG(seed, 1)), now: start}
		for range 400 {
			h.step()
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
	}
}

func (h *history) step() {
	pauses := []time.Duration{0, 0, time.Millisecond, time.Second, 20 * time.Second, 2 * time.Minute, 30 * time.Minute, 30 * time.Hour}
	h.now = h.now.Add(pauses[h.rand.IntN(len(pauses))])
	switch h.rand.IntN(4) {
	case 0, 1:
		h.enter()
	case 2:
		if len(h.out) > 0 {
			e := h.out[h.rand.IntN(len(h.out))]
			e.pass.Answered()
			h.note(e)
		}
	case 3:
		if len(h.out) > 0 {
			h.end(h.rand.IntN(len(h.out)))
		}
	}
	if n := h.gate.Out(); n != len(h.out) {
		h.t.Errorf("%d are out, want %d", n, len(h.out))
	}
}

// note judges an answer: it opens the gate, unless it is to an attempt of before a refusal.
func (h *history) note(e entry) {
	h.answered = h.number
	if h.refused && e.number <= h.failed {
		return
	}
	h.failed, h.refused = 0, false
	if err := h.gate.Closed(h.now, time.Time{}); err != nil {
		h.t.Errorf("after an answer: %v", err)
	}
}

func (h *history) enter() {
	p, err := h.gate.Enter(h.now, time.Time{})
	if err != nil {
		h.checkClosed(err)
		return
	}
	if h.failed > 0 && h.now.Sub(h.lastEntry) < 10*time.Second {
		h.t.Errorf("while the gate is closed a pass comes %v after the one before", h.now.Sub(h.lastEntry))
	}
	h.number++
	h.lastEntry = h.now
	h.out = append(h.out, entry{p, h.number})
}

func (h *history) checkClosed(err error) {
	closed, ok := errors.AsType[*ClosedError](err)
	if !ok {
		h.t.Fatalf("%T", err)
	}
	wait := closed.Until.Sub(h.now)
	if wait <= 0 || wait > 8*24*time.Hour {
		h.t.Errorf("closed for %v", wait)
	}
	switch {
	case h.failed == 0 && h.answered > 0:
		h.t.Errorf("closed though the issuer answers: %v", err)
	case h.failed == 0 && len(h.out) < maxFresh:
		h.t.Errorf("closed with %d out", len(h.out))
	case h.failed > 0 && h.gate.Closed(closed.Until, time.Time{}) != nil:
		h.t.Errorf("closed when its time is over: %v", h.gate.Closed(closed.Until, time.Time{}))
	}
}

// end ends the attempt at the place.
func (h *history) end(i int) {
	e := h.out[i]
	h.out = append(h.out[:i:i], h.out[i+1:]...)
	waits := []time.Duration{0, 0, -time.Hour, time.Second, 5 * time.Minute, 300 * time.Hour, 1 << 62}
	r := Result{Err: errDown, RetryAfter: waits[h.rand.IntN(len(waits))], Spread: h.rand.Float64()}
	r.Outcome = Outcome(h.rand.IntN(4))
	before := h.gate.Closed(h.now, time.Time{})
	e.pass.Done(h.now, r)
	after := h.gate.Closed(h.now, time.Time{})
	news := r.Outcome == Refusal && (!h.refused || e.number > h.failed) ||
		r.Outcome == Outage && e.number > h.answered && e.number > h.failed
	switch {
	case r.Outcome == Answer:
		h.note(e)
	case news:
		if after == nil {
			h.t.Errorf("open after a failure that is news: %+v", r)
		}
		h.failed, h.refused = h.number, r.Outcome == Refusal
	case before == nil && after != nil && (r.RetryAfter <= 0 || r.Outcome == Unknown):
		h.t.Errorf("closed by what is no news: %+v, %v", r, after)
	}
}
