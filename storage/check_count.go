package storage

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// A counting is several writers that lengthen one value at once.
type counting struct {
	*checking
	mu     sync.Mutex
	saved  map[Revision]string // what each Save has stored; guarded by mu
	loaded []Item              // guarded by mu
}

// each is how often each writer lengthens the value.
const each = 8

// count has writers lengthen the value at once, each by what it loads. A Load that gives a value with another's revision
// shows then, as well as a lost change. It returns the revision in the end.
func (c *checking) count(value []byte, revision Revision) (Revision, error) {
	n := counting{checking: c, saved: map[Revision]string{revision: string(value)}}
	var errs [racers]error
	var done sync.WaitGroup
	for i := range racers {
		done.Go(func() { errs[i] = n.write(fmt.Sprintf(" %d", i)) })
	}
	done.Wait()
	for _, err := range errs {
		if err != nil {
			return "", err
		}
	}
	item, err := c.store.Load(c.ctx, c.key)
	if err != nil {
		return "", err
	}
	for _, loaded := range append(n.loaded, item) {
		if value, known := n.saved[loaded.Revision]; known && value != string(loaded.Value) {
			return "", &ContractError{promiseRead, "a value came with the revision of another"}
		}
	}
	if added := strings.Count(string(item.Value), " "); added != racers*each {
		return "", &ContractError{promiseSwap, fmt.Sprintf("of %d changes that were acknowledged %d are there", racers*each, added)}
	}
	for revision := range n.saved {
		if revision != item.Revision && slices.Contains(c.seen, revision) {
			continue // the one before
		}
		if err := c.wantNew(revision); err != nil {
			return "", err
		}
	}
	return item.Revision, nil
}

// write lengthens the value by the mark some times.
func (n *counting) write(mark string) error {
	const most = 100 // tries, of which others win some
	added := 0
	for range most {
		item, err := n.store.Load(n.ctx, n.key)
		if err != nil {
			return err
		}
		value := append(bytes.Clone(item.Value), mark...)
		revision, err := n.store.Save(n.ctx, n.key, value, item.Revision)
		if err != nil && !errors.Is(err, ErrConflict) {
			return err
		}
		n.mu.Lock()
		n.loaded = append(n.loaded, item)
		if err == nil {
			n.saved[revision] = string(value)
		}
		n.mu.Unlock()
		if err != nil {
			continue
		}
		if added++; added == each {
			return nil
		}
	}
	return &ContractError{promiseSwap, fmt.Sprintf("of %d that each had loaded before %d succeeded", most, added)}
}

// raceEnd has some save and one delete the same revision at once. It returns the value and revision after that, of which the
// last is empty if the record is gone.
func (c *checking) raceEnd(old Revision) (value []byte, revision Revision, err error) {
	var values [racers][]byte
	var revisions [racers]Revision
	winner, err := c.atOnce(promiseEnd, func(i int) (err error) {
		if i == 0 {
			return c.store.Delete(c.ctx, c.key, old)
		}
		values[i] = []byte(rand.Text())
		revisions[i], err = c.store.Save(c.ctx, c.key, values[i], old)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	if winner == 0 {
		return nil, "", c.wantAbsent()
	}
	if err := c.wantNew(revisions[winner]); err != nil {
		return nil, "", err
	}
	return values[winner], revisions[winner], c.wantStored(values[winner], revisions[winner])
}
