package storage

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"
)

// A ContractError reports that a store does not keep what every [Store] promises. Nothing that is built on it
// would be right.
type ContractError struct {
	Promise string // that was not kept, as a sentence
	Seen    string // what was seen instead
}

// Error says which promise was not kept, and what was seen.
func (e *ContractError) Error() string {
	if e.Promise == "" {
		return "storage: the store does not keep the contract"
	}
	text := "storage: the store does not keep the contract: " + e.Promise
	if e.Seen != "" {
		text += "; but " + e.Seen
	}
	return text + ": it is not fit for certificates, whatever else it is good for"
}

// Check tries whether a store keeps the contract, with one or two hundred calls under a key of its own, below "check", which
// it removes again: it races writers, has some count together, reads back, lists and deletes. It is for the start of a program that is given a
// store it does not know, such as an S3 of some vendor; [github.com/everseal/everseal/storage/storagetest] tests more.
//
// A promise that was not kept is a [*ContractError]. Any other error says that the store could not be asked, or gave no
// clear answer: nothing is known of it then.
func Check(ctx context.Context, s Store) error {
	if s == nil {
		return errNoStore
	}
	c := checking{ctx: ctx, store: s, key: "check/" + strings.ToLower(rand.Text())}
	err := c.run()
	c.cleanUp()
	if _, broken := errors.AsType[*ContractError](err); err == nil || broken {
		return err
	}
	return fmt.Errorf("storage: checking the store: %w", inner{err})
}

// A checking is one call of Check.
type checking struct {
	ctx   context.Context // of the one call
	store Store
	key   string
	seen  []Revision // all that the store has given
}

// The promises that Check names.
const (
	promiseAbsent   = "a Load of what is not stored is an error that wraps fs.ErrNotExist"
	promiseCreate   = "of several that create one key, one succeeds and the others get ErrConflict"
	promiseSwap     = "of several that change one revision, one succeeds and the others get ErrConflict"
	promiseStale    = "a Save or Delete that names another revision than the stored one gets ErrConflict and changes nothing"
	promiseRead     = "a Load after a Save returns what was saved last, with its revision"
	promiseRevision = "a key is never given the same revision twice, not for an equal value nor after a deletion"
	promiseList     = "List yields the keys that there are"
	promiseEnd      = "of several that save over or delete one revision, one succeeds and the others get ErrConflict"
	promiseDelete   = "of several that delete one revision, one succeeds and the others get ErrConflict"
)

func (c *checking) run() error {
	if err := c.wantAbsent(); err != nil {
		return err
	}
	value, revision, err := c.race(promiseCreate, "")
	if err != nil {
		return err
	}
	if err := c.wantStored(value, revision); err != nil {
		return err
	}
	created := revision
	if value, revision, err = c.race(promiseSwap, revision); err != nil {
		return err
	}
	if err := c.wantStored(value, revision); err != nil {
		return err
	}
	for _, stale := range []Revision{created, ""} {
		if _, err := c.store.Save(c.ctx, c.key, []byte("stale"), stale); !errors.Is(err, ErrConflict) {
			return c.instead(promiseStale, err, "a Save succeeded")
		}
	}
	if err := c.store.Delete(c.ctx, c.key, created); !errors.Is(err, ErrConflict) {
		return c.instead(promiseStale, err, "a Delete succeeded")
	}
	if revision, err = c.store.Save(c.ctx, c.key, value, revision); err != nil {
		return c.instead(promiseSwap, err, "")
	}
	if err := c.wantNew(revision); err != nil {
		return err
	}
	if err := c.wantStored(value, revision); err != nil {
		return err
	}
	if err := c.wantListed(); err != nil {
		return err
	}
	if revision, err = c.count(value, revision); err != nil {
		return err
	}
	return c.runEnd(revision)
}

// runEnd is the part of run that deletes.
func (c *checking) runEnd(revision Revision) error {
	value, revision, err := c.raceEnd(revision)
	if err != nil {
		return err
	}
	if revision == "" {
		value = []byte("again")
		if revision, err = c.store.Save(c.ctx, c.key, value, ""); err != nil {
			return c.instead(promiseCreate, err, "")
		}
		if err := c.wantNew(revision); err != nil {
			return err
		}
	}
	if err := c.raceDelete(revision); err != nil {
		return err
	}
	if err := c.wantAbsent(); err != nil {
		return err
	}
	if revision, err = c.store.Save(c.ctx, c.key, value, ""); err != nil {
		return c.instead(promiseCreate, err, "")
	}
	return c.wantNew(revision)
}

// instead returns the error for what came instead of ErrConflict or of success. An error that is neither is the
// store's own, and says nothing of the contract.
func (c *checking) instead(promise string, err error, success string) error {
	switch {
	case err == nil:
		return &ContractError{promise, success}
	case errors.Is(err, ErrConflict):
		return &ContractError{promise, "a Save that nobody was in the way of got ErrConflict"}
	}
	return err
}

func (c *checking) wantAbsent() error {
	_, err := c.store.Load(c.ctx, c.key)
	if err == nil {
		return &ContractError{promiseAbsent, "a value came back"}
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (c *checking) wantStored(value []byte, revision Revision) error {
	item, err := c.store.Load(c.ctx, c.key)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &ContractError{promiseRead, "there was nothing"}
	case err != nil:
		return err
	case !bytes.Equal(item.Value, value):
		return &ContractError{promiseRead, "another value came back, from a replica that lags, a cache, or a writer that had lost"}
	case item.Revision != revision:
		return &ContractError{promiseRead, "another revision came back"}
	}
	return nil
}

// wantNew notes a revision, which must not be one seen before.
func (c *checking) wantNew(revision Revision) error {
	if revision == "" || slices.Contains(c.seen, revision) {
		return &ContractError{promiseRevision, fmt.Sprintf("%.80q came back", revision)}
	}
	c.seen = append(c.seen, revision)
	return nil
}

func (c *checking) wantListed() error {
	prefix, _, _ := strings.Cut(c.key, "/")
	for _, prefix := range []string{prefix, c.key} {
		found := false
		for key, err := range c.store.List(c.ctx, prefix) {
			if err != nil {
				return err
			}
			if !Within(key, prefix) {
				return &ContractError{promiseList, fmt.Sprintf("for the prefix %q it yields %.80q", prefix, key)}
			}
			found = found || key == c.key
		}
		if !found {
			return &ContractError{promiseList, fmt.Sprintf("for the prefix %q it leaves out %q", prefix, c.key)}
		}
	}
	return nil
}

// racers is how many try at once.
const racers = 3

// race has several writers try at once to put a value of their own over the revision, and returns the
// winner's.
func (c *checking) race(promise string, old Revision) (value []byte, revision Revision, err error) {
	var values [racers][]byte
	var revisions [racers]Revision
	winner, err := c.atOnce(promise, func(i int) (err error) {
		values[i] = []byte(rand.Text())
		revisions[i], err = c.store.Save(c.ctx, c.key, values[i], old)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	return values[winner], revisions[winner], c.wantNew(revisions[winner])
}

func (c *checking) raceDelete(revision Revision) error {
	_, err := c.atOnce(promiseDelete, func(int) error { return c.store.Delete(c.ctx, c.key, revision) })
	return err
}

// atOnce makes calls of which one has to succeed and the others have to get ErrConflict. It returns which did.
func (c *checking) atOnce(promise string, call func(i int) error) (winner int, err error) {
	var errs [racers]error
	var ready, done sync.WaitGroup
	ready.Add(racers)
	for i := range racers {
		done.Go(func() {
			ready.Done()
			ready.Wait() // so that they meet
			errs[i] = call(i)
		})
	}
	done.Wait()
	winners := 0
	for i, err := range errs {
		switch {
		case err == nil:
			winner = i
			winners++
		case !errors.Is(err, ErrConflict):
			return 0, err
		}
	}
	if winners != 1 {
		return 0, &ContractError{promise, fmt.Sprintf("of %d that tried at once %d succeeded", racers, winners)}
	}
	return winner, nil
}

// cleanUp removes what is left, also when the context has ended. What can't be removed does no harm.
func (c *checking) cleanUp() {
	const cleanUpTimeout = 10 * time.Second
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), cleanUpTimeout)
	defer cancel()
	if item, err := c.store.Load(ctx, c.key); err == nil {
		_ = c.store.Delete(ctx, c.key, item.Revision)
	}
}
