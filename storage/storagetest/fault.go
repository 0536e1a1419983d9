package storagetest

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/everseal/everseal/storage"
)

// ErrFault is what calls fail with that a [Fault] without an error of its own lets fail.
var ErrFault = errors.New("storagetest: the store is made to fail")

// A Fault is something that goes wrong with calls of a [Faulty]. The zero value lets every call fail.
type Fault struct {
	Kind Kind

	On     Methods // the calls that it is for; zero: all
	Prefix string  // of their keys, as List takes it; empty: all

	// Of those calls, After pass before the first goes wrong, then Times do (zero: all): of these a Share from 0 to 1
	// (zero: all), chosen by the Seed.
	After int
	Times int
	Share float64

	Delay time.Duration // of Slow, Stuck and Late
	Err   error         // what the call fails with; nil: ErrFault

	// Hit, if it is set, is called for each call that goes wrong, before it does. It may use the Faulty.
	Hit func(key string)
}

// A Kind is how a call goes wrong. Reads know no Twice and no Late: they pass.
type Kind int

const (
	Fail  Kind = iota // nothing is done, and the call fails
	Lost              // it is done, and the call fails: the answer was lost
	Twice             // a write is done twice, as by a driver that repeats it; the second answer is returned
	Late              // a write fails, and is done after Delay, or at Release if that comes first or Delay is zero
	Hang              // nothing is done until the context ends, with its error
	Stuck             // as if the process was suspended: for Delay, zero: until Release; it is done then, whatever its context says
	Slow              // it is done after Delay, unless the context ends before
	Stale             // a Load returns what was stored before the last write since SetFaults, as a replica does; others pass
)

// Methods are one or several of a store's methods.
type Methods uint8

// The methods, and those that write.
const (
	Load Methods = 1 << iota
	Save
	Delete
	List
	Scan
	Watch

	Writes = Save | Delete
)

func (f Fault) err() error {
	if f.Err != nil {
		return f.Err
	}
	return ErrFault
}

func (f Fault) concerns(method Methods, key string) bool {
	if method&Writes == 0 && (f.Kind == Twice || f.Kind == Late) || method != Load && f.Kind == Stale {
		return false
	}
	return (f.On == 0 || f.On&method != 0) && storage.Within(key, f.Prefix)
}

// chosen reports whether the call of that number, counted from 0 among those that the fault concerns, goes wrong.
func (f Fault) chosen(seed, number uint64) bool {
	switch after := uint64(max(f.After, 0)); {
	case number < after, f.Times > 0 && number-after >= uint64(f.Times):
		return false
	}
	return f.Share <= 0 || rand.New(rand.NewPCG(seed, number)).Float64() < f.Share
}
