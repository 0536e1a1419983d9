package dispatch

import "time"

// Urgency orders what is ready; a lower one goes first.
type Urgency uint8

// A Task is what is dispatched: a pointer to a struct that embeds a [Place].
//
// Plan and Group are called under the dispatcher's lock: they must return quickly, and must not call the dispatcher or
// wait for a lock whose holder does.
type Task interface {
	comparable
	// Plan says when the task is due next, and how urgent it is then; false: not at all. What is due in the past is ready
	// at once, also when Do has just returned.
	Plan() (due time.Time, urgency Urgency, planned bool)
	// Group names those with whom the task shares workers fairly. It is called when the task becomes ready, and holds
	// until it has run.
	Group() string
	// place is that of the embedded Place.
	place() *Place
}

// A Place is where the dispatcher keeps where a task stands; the task embeds it. The zero Place is that of a task no
// dispatcher knows. It belongs to one dispatcher, guarded by its lock, and must not be copied after first use.
type Place struct {
	position int32 // while waiting in the heap, while ready the number of its entry
	state    state
	urgency  Urgency // as planned, while waiting or ready
}

func (p *Place) place() *Place { return p }

type state uint8

const (
	idle state = iota
	waiting
	ready
	running
	leaving // running, but not to be planned afterwards
)
