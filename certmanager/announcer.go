package certmanager

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

const (
	maxEvents       = 1024             // that wait for Config.OnEvent
	farewellTimeout = 10 * time.Second // for what waits when Run ends
)

// An announcer hands events to Config.OnEvent, one after another, apart from the work that they tell of. Its
// goroutine lives only while there is something to deliver.
type announcer struct {
	onEvent func(Event) // nil: nobody is told
	logger  *slog.Logger

	mu         sync.Mutex    // guards what follows; not held while onEvent is called
	waiting    []Event       // in order; at most maxEvents
	missed     int           // dropped before the first of waiting
	delivering chan struct{} // closed when the goroutine ends; nil: there is none
}

// tell has the event delivered after those before it. If too many wait, the oldest of them is dropped.
func (a *announcer) tell(e Event) {
	if a.onEvent == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.waiting) == maxEvents {
		a.waiting[0] = Event{} // what it refers to is not kept
		a.waiting = a.waiting[1:]
		a.missed++
	}
	e.Time = time.Now() // here, so that it never goes back from one event to the next
	a.waiting = append(a.waiting, e)
	if a.delivering == nil {
		a.delivering = make(chan struct{})
		go a.deliver()
	}
}

// deliver calls onEvent until nothing waits.
func (a *announcer) deliver() {
	for {
		e, ok := a.next()
		if !ok {
			return
		}
		a.announce(e)
	}
}

// next takes the event whose turn it is. If there is none, the goroutine that asks is the announcer's no more.
func (a *announcer) next() (Event, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.waiting) == 0 {
		close(a.delivering)
		a.waiting, a.delivering = nil, nil
		return Event{}, false
	}
	e := a.waiting[0]
	a.waiting[0] = Event{}
	a.waiting = a.waiting[1:]
	e.Missed, a.missed = a.missed, 0
	return e, true
}

// announce calls onEvent, whose panic is not the manager's.
func (a *announcer) announce(e Event) {
	defer func() {
		if value := recover(); value != nil {
			a.logger.Error("Config.OnEvent panicked", slog.String("panic", fmt.Sprint(value)),
				slog.Any("certificate", e), slog.String("stack", string(debug.Stack())))
		}
	}()
	a.onEvent(e)
}

// finish returns when all has been delivered. If that takes too long, what waits is dropped and the call of
// onEvent under way is left behind.
func (a *announcer) finish() {
	a.mu.Lock()
	delivering := a.delivering
	a.mu.Unlock()
	if delivering == nil {
		return
	}
	patience := time.NewTimer(farewellTimeout)
	defer patience.Stop()
	select {
	case <-delivering:
	case <-patience.C:
		a.mu.Lock()
		defer a.mu.Unlock()
		a.missed += len(a.waiting)
		a.waiting = nil
	}
}
