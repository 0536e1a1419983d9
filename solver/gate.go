package solver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"github.com/everseal/everseal/storage"
)

// What a gate lets through. CAs give up after ten seconds and do not ask again: whoever has to wait must
// be answered well before that.
const (
	maxLoads       = 8                      // loads under way at once
	maxWaiting     = 4096                   // keys that wait for their load
	waitTimeout    = 2 * time.Second        // for which a request waits for its load to begin
	loadTimeout    = 4 * time.Second        // for which a load may take
	absentPeriod   = time.Second            // between two loads of a key under which nothing was found
	foundPeriod    = 100 * time.Millisecond // between two loads of another key
	rememberPeriod = 30 * time.Second       // for which a key is known to have had an answer
)

// errBusy ends requests that the bounds of a gate left no room for. Like all errors of a gate it is a part of the
// caller's.
var errBusy = fmt.Errorf("more challenges are asked for than the storage is asked about: "+
	"no more than %d a second that are not pending", time.Second/missInterval)

// A gate stands between what the network asks for and the storage. It lets pass what a CA asks, and
// what a scanner asks up to a bound, however fast it asks.
//
// What this process presented it knows. For any other key there is one load at a time, on behalf of all
// who ask before it begins, and a pause before the next. Nobody is told what an earlier load has
// shown: an answer that another process presents right after a scanner asked for it is found when the
// CA does. So requests in a pause wait, instead of being told what is out of date.
//
// Loads that find nothing use up an allowance. When it is exhausted, keys wait in a queue. There, those
// that had an answer a moment ago come first, then those that several networks ask for: a CA asks for one
// token from several places at once. Next are those of a network that waits for few: a scanner waits for many.
// Who has waited too long or must make room gets errBusy, which is not to be taken for the answer that there is
// no challenge.
//
// The zero value is ready for use.
type gate struct {
	mu        sync.Mutex // guards what follows; not held while the storage is asked
	presented ownAnswers
	inquiries map[string]*inquiry // by key
	waiting   queue
	loads     int       // under way
	misses    allowance // for loads that find nothing
	wake      *time.Timer
}

// An inquiry is about one key that is asked for, or was a moment ago. The gate's mu guards it.
type inquiry struct {
	key     string
	last    knowledge
	by      network     // on whose behalf it was loaded last, first of all
	current *sharedLoad // which is loading
	next    *sharedLoad // for which the load has not begun
	pause   time.Time   // until when no other load begins
	until   time.Time   // when the inquiry is forgotten
	forget  *time.Timer
	first   sharedLoad // of all, and for most inquiries of scanners the only one
}

// A knowledge is what the last load of a key has shown.
type knowledge int

const (
	notAsked knowledge = iota
	wasAbsent
	wasFound
)

// A sharedLoad is one load on behalf of all who asked before it began. The gate's mu guards it, but for
// answer and err, which are read after done was closed.
type sharedLoad struct {
	inquiry  *inquiry
	askers   int
	networks [maxNetworks]network // distinct ones of those who have asked, of which there are from
	from     int
	place    place
	resting  *time.Timer   // puts it into the queue after the pause
	turn     chan struct{} // has one element when it is for one of the askers to load
	done     chan struct{}
	answer   *answer // nil: err
	err      error
}

// join adds one who asks.
func (l *sharedLoad) join(by network) {
	l.askers++
	if l.from < maxNetworks && !slices.Contains(l.networks[:l.from], by) {
		l.networks[l.from] = by
		l.from++
	}
}

// result returns what the load has shown.
func (l *sharedLoad) result() (answer, error) {
	if l.answer == nil {
		return answer{}, l.err
	}
	return *l.answer, nil
}

// A question is what a client asks a gate.
type question struct {
	key string
	by  network
}

// answer returns the answer to q in the shared store, or in own if there is none: that is this process's
// memory, which needs no gate.
func (g *gate) answer(ctx context.Context, shared storage.Store, own *storage.Memory, q question) (answer, error) {
	if shared == nil {
		return load(ctx, own, q.key)
	}
	return g.load(ctx, shared, q)
}

// present notes that this process stored an answer.
func (g *gate) present(key string, own ownAnswer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.presented.add(key, own)
}

// isYoung is that of [ownAnswers].
func (g *gate) isYoung(key string, a answer) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.presented.isYoung(key, a)
}

// withdraw notes that this process is about to delete an answer, and returns the revision of its record; zero: it is not
// known.
func (g *gate) withdraw(key string, a answer) storage.Revision {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.presented.remove(key, a)
}

// load returns the answer to q. The error wraps fs.ErrNotExist if there was none at some time after the call,
// and errBusy if that could not be found out.
func (g *gate) load(ctx context.Context, s storage.Store, q question) (answer, error) {
	own, l := g.enter(q.key, q.by)
	if l == nil {
		return own, nil
	}
	select {
	case <-l.turn:
		g.perform(ctx, s, l)
		return l.result()
	default:
	}
	patience := time.NewTimer(waitTimeout)
	defer patience.Stop()
	expired := patience.C
	for {
		select {
		case <-l.turn:
			g.perform(ctx, s, l)
			return l.result()
		case <-l.done:
			return l.result()
		case <-expired:
			if g.expire(l) {
				return answer{}, errBusy
			}
			expired = nil // the load has begun, and ends soon
		case <-ctx.Done():
			g.leave(l)
			return answer{}, fmt.Errorf("wait for the answer to a challenge: %w", ctx.Err())
		}
	}
}

// enter returns what this process presented under key, or the load to wait for.
func (g *gate) enter(key string, by network) (answer, *sharedLoad) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if own, ok := g.presented.at(key, now); ok {
		return own, nil
	}
	q := g.inquiries[key]
	var l *sharedLoad
	if q == nil {
		q = &inquiry{key: key}
		l = &q.first
		if g.inquiries == nil {
			g.inquiries = make(map[string]*inquiry)
		}
		g.inquiries[key] = q
	}
	if q.next != nil {
		q.next.join(by)
		g.waiting.promote(q.next)
		return answer{}, q.next
	}
	if l == nil {
		l = new(sharedLoad)
	}
	l.inquiry, l.turn, l.done = q, make(chan struct{}, 1), make(chan struct{})
	l.join(by)
	q.next = l
	if q.current == nil {
		g.schedule(q, now)
	}
	return answer{}, l
}

// schedule puts the next load of q into the queue, when its pause is over.
func (g *gate) schedule(q *inquiry, now time.Time) {
	l := q.next
	if wait := q.pause.Sub(now); wait > 0 {
		l.resting = time.AfterFunc(wait, func() {
			g.mu.Lock()
			defer g.mu.Unlock()
			if q.next == l {
				g.enqueue(l)
			}
		})
		return
	}
	g.enqueue(l)
}

func (g *gate) enqueue(l *sharedLoad) {
	g.waiting.add(l)
	if g.waiting.length > maxWaiting {
		given := g.waiting.hindmost()
		given.err = errBusy
		close(given.done)
		g.drop(given)
	}
	g.dispatch()
}

// dispatch begins as many loads as the bounds allow.
func (g *gate) dispatch() {
	for g.loads < maxLoads && g.waiting.length > 0 {
		if wait := g.misses.take(time.Now()); wait > 0 {
			if g.wake == nil {
				g.wake = time.AfterFunc(wait, func() {
					g.mu.Lock()
					defer g.mu.Unlock()
					g.wake = nil
					g.dispatch()
				})
			}
			return
		}
		l := g.waiting.foremost()
		g.waiting.remove(l)
		l.inquiry.current, l.inquiry.next = l, nil
		g.loads++
		l.turn <- struct{}{}
	}
}

// expire takes one away who has asked for too long, unless the load has begun.
func (g *gate) expire(l *sharedLoad) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if l.inquiry.next != l {
		return false
	}
	if l.askers--; l.askers == 0 {
		g.drop(l)
	}
	return true
}

// leave takes one away who asked.
func (g *gate) leave(l *sharedLoad) {
	if g.expire(l) {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	q := l.inquiry
	if l.askers--; q.current != l || l.askers > 0 {
		return
	}
	// The last one goes. If it was for him to load, nobody will.
	select {
	case <-l.turn:
		g.misses.giveBack()
		g.finish(q)
	default:
	}
}

// drop takes a load away that has not begun.
func (g *gate) drop(l *sharedLoad) {
	g.waiting.remove(l)
	if l.resting != nil {
		l.resting.Stop()
	}
	q := l.inquiry
	q.next = nil
	g.forget(q)
}

// perform loads for all who asked. It goes on when the one who does it is gone.
func (g *gate) perform(ctx context.Context, s storage.Store, l *sharedLoad) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), loadTimeout)
	defer cancel()
	l.err = errors.New("the load of a challenge's answer did not end") // if it panics
	defer g.performed(l)
	found, err := load(ctx, s, l.inquiry.key)
	if l.err = err; err == nil {
		l.answer = &found
	}
}

func (g *gate) performed(l *sharedLoad) {
	g.mu.Lock()
	defer g.mu.Unlock()
	q, now := l.inquiry, time.Now()
	q.by, q.pause = l.networks[0], now.Add(foundPeriod)
	switch {
	case l.err == nil:
		q.last, q.until = wasFound, now.Add(rememberPeriod)
		g.misses.giveBack()
	case errors.Is(l.err, fs.ErrNotExist):
		q.last, q.pause = wasAbsent, now.Add(absentPeriod)
		q.until = q.pause
	}
	close(l.done)
	g.finish(q)
}

// finish ends the current load of q and begins what can be begun then.
func (g *gate) finish(q *inquiry) {
	q.current = nil
	g.loads--
	if q.next != nil {
		g.schedule(q, time.Now())
	}
	g.forget(q)
	g.dispatch()
}

// forget removes an inquiry when nobody asks and what it remembers is of no more use.
func (g *gate) forget(q *inquiry) {
	if q.current != nil || q.next != nil || q.forget != nil {
		return
	}
	wait := time.Until(q.until)
	if wait <= 0 {
		delete(g.inquiries, q.key)
		return
	}
	q.forget = time.AfterFunc(wait, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		q.forget = nil
		g.forget(q)
	})
}
