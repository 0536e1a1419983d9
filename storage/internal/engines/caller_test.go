package engines

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/everseal/everseal/storage"
)

const (
	callersOfChild = 2
	burstInterval  = 5 * time.Millisecond // at whose multiples the callers of all processes call at once
)

var callKeys = []string{"certificates/one", "certificates/two", "three"}

// A caller calls a store, one call after the other, and tells of each when it starts and when it ends.
type caller struct {
	id    int
	store storage.Store
	tell  func(event) error
	known map[string][]storage.Revision // by key, of what it has seen, oldest first; empty: nothing
}

// run makes so many calls, or if that is zero as many as it can until the context ends.
func (c *caller) run(ctx context.Context, calls int, interval time.Duration) error {
	c.known = make(map[string][]storage.Revision)
	for n := 1; ctx.Err() == nil && (calls == 0 || n <= calls); n++ {
		if interval > 0 {
			t, err := now()
			if err != nil {
				return err
			}
			time.Sleep(interval - time.Duration(t)%interval)
		}
		key := callKeys[rand.IntN(len(callKeys))]
		start := event{Client: c.id, Call: n, Key: key, Kind: kindLoad}
		if known := c.known[key]; len(known) > 0 && rand.IntN(10) >= 4 {
			start.Kind = kindSave
			if rand.IntN(4) == 0 {
				start.Kind = kindDelete
			} else {
				start.Value = fmt.Sprintf("%d.%d", c.id, n)
			}
			old := known[len(known)-1]
			if rand.IntN(10) == 0 {
				old = known[rand.IntN(len(known))]
			}
			start.Old = string(old)
		}
		if err := c.call(ctx, start); err != nil {
			return err
		}
	}
	return nil
}

func (c *caller) call(ctx context.Context, start event) (err error) {
	if start.At, err = now(); err != nil {
		return err
	}
	if err := c.tell(start); err != nil {
		return err
	}
	end := event{Client: start.Client, Call: start.Call}
	revision, absent := storage.Revision(""), outcomeConflict
	switch start.Kind {
	case kindLoad:
		var item storage.Item
		item, err = c.store.Load(ctx, start.Key)
		revision, end.Value, absent = item.Revision, string(item.Value), outcomeAbsent
	case kindSave:
		revision, err = c.store.Save(ctx, start.Key, []byte(start.Value), storage.Revision(start.Old))
		end.Value = start.Value
	case kindDelete:
		err = c.store.Delete(ctx, start.Key, storage.Revision(start.Old))
	}
	at, clock := now()
	if clock != nil {
		return clock
	}
	end.At, end.Outcome, end.Revision = at, outcomeDone, string(revision)
	switch {
	case err == nil:
		c.known[start.Key] = append(c.known[start.Key], revision)
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, storage.ErrConflict):
		end.Outcome = absent
		if absent == outcomeAbsent {
			c.known[start.Key] = append(c.known[start.Key], "")
		}
	default:
		end.Outcome = outcomeUnknown
	}
	return c.tell(end)
}

// callers runs some callers of the store, whose ids begin with first.
func callers(ctx context.Context, s storage.Store, first, count int, run func(*caller) error, tell func(event)) error {
	var mu sync.Mutex
	var group sync.WaitGroup
	failures := make([]error, count)
	for i := range count {
		c := &caller{id: first + i, store: s, tell: func(e event) error {
			mu.Lock()
			defer mu.Unlock()
			tell(e)
			return ctx.Err()
		}}
		group.Go(func() { failures[i] = run(c) })
	}
	group.Wait()
	return errors.Join(failures...)
}

// childCall calls the store without end and prints each event, as JSON. Its arguments are a URL and the first caller's id.
func childCall(ctx context.Context, arguments []string) error {
	ctx, cancel := whileParentLives(ctx)
	defer cancel()
	first, err := strconv.Atoi(arguments[1])
	if err != nil {
		return err
	}
	s, closer, err := open(ctx, arguments[0])
	for err != nil && ctx.Err() == nil { // the connection may have been cut
		fmt.Fprintln(os.Stderr, err)
		s, closer, err = open(ctx, arguments[0])
	}
	if err != nil {
		return err
	}
	defer closer.Close()
	out := json.NewEncoder(os.Stdout)
	return callers(ctx, s, first, callersOfChild,
		func(c *caller) error { return c.run(ctx, 0, burstInterval) },
		func(e event) { _ = out.Encode(e) })
}
