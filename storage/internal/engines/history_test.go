package engines

import (
	"fmt"
	"math"

	"github.com/anishathalye/porcupine"
)

// Kinds of calls, and what they answer.
const (
	kindLoad, kindSave, kindDelete = "load", "save", "delete"

	outcomeDone     = "done"
	outcomeAbsent   = "absent"   // of a load
	outcomeConflict = "conflict" // of a save or delete
	outcomeUnknown  = "unknown"  // an error, or the client was killed
)

// An event is the start of a call, or its end, by the clock that all processes share.
type event struct {
	Client, Call   int
	At             int64
	Kind, Key, Old string `json:",omitempty"` // of a start
	Outcome        string `json:",omitempty"` // of an end; empty: it is a start
	Value          string `json:",omitempty"` // that a save stores or a load has found
	Revision       string `json:",omitempty"` // that a save has made or a load has found
}

// A call is what the model judges.
type call struct {
	client                   int
	start, end               int64
	kind, key, old           string
	outcome, value, revision string
}

func (c call) describe() string {
	switch {
	case c.kind == kindLoad && c.outcome == outcomeDone:
		return fmt.Sprintf("load: %s at %s", c.value, c.revision)
	case c.kind == kindSave:
		return fmt.Sprintf("save %s over %q: %s %s", c.value, c.old, c.outcome, c.revision)
	}
	return fmt.Sprintf("%s %q: %s", c.kind, c.old, c.outcome)
}

// An item is what is stored under a key. The zero item is nothing.
type item struct{ value, revision string }

// register is the model of one key: what compare-and-swap may answer, and what is stored then.
func register() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return item{} },
		Step: func(state, input, _ any) (bool, any) {
			next, legal := state.(item).after(input.(call))
			return legal, next
		},
		DescribeOperation: func(input, _ any) string { return input.(call).describe() },
		DescribeState:     func(state any) string { return fmt.Sprintf("%s at %s", state.(item).value, state.(item).revision) },
	}
}

// after returns what is stored after the call, and whether the call may answer as it did. A call of unknown outcome takes
// place or not by what is stored; that it never takes place is the same as that it does after all others.
func (i item) after(c call) (next item, legal bool) {
	if c.kind == kindLoad {
		if c.outcome == outcomeAbsent {
			return i, i == item{}
		}
		return i, i == item{c.value, c.revision}
	}
	takes := i.revision == c.old && (c.kind == kindSave || c.old != "")
	switch {
	case !takes:
		return i, c.outcome != outcomeDone
	case c.outcome == outcomeConflict:
		return i, false
	case c.kind == kindDelete:
		return item{}, true
	}
	return item{c.value, c.revision}, true
}

// A history is the calls of each key.
type history map[string][]call

// historyOf pairs the events of starts and ends.
func historyOf(events []event) history {
	type id struct{ client, call int }
	ends := make(map[id]event)
	for _, e := range events {
		if e.Outcome != "" {
			ends[id{e.Client, e.Call}] = e
		}
	}
	h := make(history)
	for _, e := range events {
		if e.Outcome != "" {
			continue
		}
		c := call{client: e.Client, start: e.At, end: math.MaxInt64, kind: e.Kind, key: e.Key, old: e.Old, outcome: outcomeUnknown, value: e.Value}
		if end, ok := ends[id{e.Client, e.Call}]; ok && end.Outcome != outcomeUnknown {
			c.end, c.outcome, c.revision = end.At, end.Outcome, end.Revision
			if c.kind == kindLoad {
				c.value = end.Value
			}
		}
		if c.kind != kindLoad || c.outcome != outcomeUnknown {
			h[e.Key] = append(h[e.Key], c)
		}
	}
	return h
}

// unknown returns how many calls have an unknown outcome.
func (h history) unknown() (n int) {
	for _, calls := range h {
		for _, c := range calls {
			if c.outcome == outcomeUnknown {
				n++
			}
		}
	}
	return n
}

// revisions returns the revision of each value, as no two saves store the same. No revision may be given to two.
func revisions(calls []call) (map[string]string, error) {
	byValue, byRevision := make(map[string]string), make(map[string]string)
	for _, c := range calls {
		if c.revision == "" {
			continue
		}
		if old, ok := byValue[c.value]; ok && old != c.revision {
			return nil, fmt.Errorf("%s is stored at two revisions, %s and %s", c.value, old, c.revision)
		}
		if old, ok := byRevision[c.revision]; ok && old != c.value {
			return nil, fmt.Errorf("the revision %s is of two values, %s and %s", c.revision, old, c.value)
		}
		byValue[c.value], byRevision[c.revision] = c.revision, c.value
	}
	return byValue, nil
}

// complete says what follows from a history of one key about the calls of unknown outcome, so that there is less to search. One
// whose value somebody has loaded took place before that; its revision is known then. One that nobody has heard of
// did not take place if another is known to have replaced the same revision: revisions do not return.
func complete(calls []call) ([]call, error) {
	known, err := revisions(calls)
	if err != nil {
		return nil, err
	}
	seen, replaced := make(map[string]int64), make(map[string]bool)
	for _, c := range calls {
		switch {
		case c.kind == kindLoad && c.outcome == outcomeDone:
			if first, ok := seen[c.value]; !ok || c.end < first {
				seen[c.value] = c.end
			}
		case c.outcome == outcomeDone && c.old != "":
			replaced[c.old] = true
		}
	}
	var all []call
	for _, c := range calls {
		if c.outcome != outcomeUnknown {
			all = append(all, c)
			continue
		}
		first, loaded := seen[c.value]
		switch {
		case c.kind == kindSave && loaded:
			c.end, c.revision = max(first, c.start), known[c.value]
		case replaced[c.old]:
			continue
		default:
			c.revision = "unknown of " + c.value
		}
		all = append(all, c)
	}
	return all, nil
}

func operations(calls []call) (all []porcupine.Operation) {
	for _, c := range calls {
		all = append(all, porcupine.Operation{ClientId: c.client, Input: c, Call: c.start, Return: c.end})
	}
	return all
}
