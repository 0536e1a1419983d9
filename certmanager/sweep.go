package certmanager

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/everseal/everseal/storage"
)

const (
	sweepKey             = "sweep/records"
	defaultSweepInterval = 24 * time.Hour
	minSweepInterval     = time.Minute
	sweepPage            = 100 // values read, after which it is noted how far it is
	sweepPause           = time.Second
	sweepBatch           = 10_000  // keys in memory
	maxSwept             = 100_000 // values read for one rule and sweep; the next one resumes there
)

// A sweeper makes sweeps.
type sweeper struct {
	*archive
	catalogue *catalogue
	writable  *writability
	logger    *slog.Logger
	interval  time.Duration // from the end of one sweep to the next
	swept     atomic.Int64  // records that sweeps have deleted
}

// A sweep goes through what is stored, and deletes what nobody can need any more: for each rule, the keys are listed, and of
// those that may go the values are read, in the order of the keys. One member of the fleet does it at a time, and another
// resumes what it leaves. What is deleted is deleted at the revision that was judged: if another member has come back to it,
// it stays.
type sweep struct {
	*sweeper
	lease  *storage.Lease
	steady steadyStore
	stage  sweepStage
	found  int // keys that the last listing had
}

// A sweepStage is how far the members are, the value of the lease.
type sweepStage struct {
	Done    time.Time         `json:"done,omitzero"`     // when the last sweep ended
	Under   string            `json:"under,omitempty"`   // the prefix that is gone through at the moment; empty: none is
	Cursors map[string]string `json:"cursors,omitempty"` // the last key judged, by prefix
	Deleted map[string]int    `json:"deleted,omitempty"` // by this sweep, by prefix
	hindsight
}

// run makes sweeps until ctx ends.
func (s *sweeper) run(ctx context.Context) {
	c := chore{
		store: s.store, writable: s.writable, logger: s.logger,
		key: sweepKey, spread: min(surveySpread, s.interval), failure: "what nobody needs any more can't be deleted from the storage", begin: s.begin,
	}
	c.repeat(ctx)
}

// begin returns how long it is to the next sweep, and makes one before if that is due. A new storage has nothing to
// be swept yet.
func (s *sweeper) begin(lease *storage.Lease) (wait time.Duration, work func(context.Context) error) {
	interval := s.interval
	next := sweep{sweeper: s, lease: lease, steady: steadyStore{s.store}}
	if json.Unmarshal(lease.Value(), &next.stage) != nil {
		next.stage = sweepStage{} // whatever it is
	}
	next.stage.lately = 2 * max(interval, defaultSweepInterval)
	since := time.Since(next.stage.Done)
	switch {
	case next.stage.Under != "":
	case next.stage.Done.IsZero() || since < 0: // or by another clock
		next.stage.Done = time.Now().UTC()
		return interval, func(ctx context.Context) error { return noteStage(ctx, lease, next.stage) }
	case since < interval:
		return interval - since, nil
	}
	return interval, next.run
}

// run goes by all rules, from where the last sweep was left.
func (s *sweep) run(ctx context.Context) error {
	rules := s.rules()
	first := max(0, slices.IndexFunc(rules, func(r rule) bool { return r.prefix == s.stage.Under }))
	if s.stage.Under == "" {
		s.stage.Deleted = nil
	}
	for e := range s.catalogue.all() {
		if held := e.held(); held != nil {
			s.stage.see(time.Unix(held.begin, 0))
		}
	}
	for _, r := range rules[first:] {
		s.stage.Under = r.prefix
		if err := s.apply(ctx, r); err != nil {
			// As far as it came it need not be gone over again: one record that always fails holds up no other.
			return errors.Join(err, noteStage(ctx, s.lease, s.stage))
		}
	}
	s.tell(ctx)
	s.stage.Under, s.stage.Done = "", time.Now().UTC()
	s.stage.fade()
	return noteStage(ctx, s.lease, s.stage)
}

// tell logs what was deleted.
func (s *sweep) tell(ctx context.Context) {
	var attrs []any
	for _, r := range s.rules() {
		if n := s.stage.Deleted[r.prefix]; n > 0 {
			attrs = append(attrs, slog.Int(r.prefix, n))
		}
	}
	if len(attrs) > 0 {
		s.logger.InfoContext(ctx, "what nobody needs any more was deleted from the storage", slog.Group("records", attrs...))
	}
}

// apply judges what is stored below the rule's prefix.
func (s *sweep) apply(ctx context.Context, r rule) error {
	for judged := 0; judged < maxSwept; {
		keys, more, err := s.candidates(ctx, r)
		if err != nil {
			return fmt.Errorf("list %s: %w", r.prefix, err)
		}
		for _, key := range keys {
			err := s.judge(ctx, r, key)
			if ctx.Err() == nil {
				s.moveTo(r, key)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
			if judged++; judged%sweepPage != 0 {
				continue
			}
			if err := noteStage(ctx, s.lease, s.stage); err != nil {
				return err
			}
			if err := pause(ctx, sweepPause); err != nil {
				return err
			}
		}
		if !more {
			delete(s.stage.Cursors, r.prefix)
			return nil
		}
	}
	return nil
}

// moveTo sets the cursor of a rule.
func (s *sweep) moveTo(r rule, key string) {
	if s.stage.Cursors == nil {
		s.stage.Cursors = make(map[string]string)
	}
	s.stage.Cursors[r.prefix] = key
}

// candidates returns the first keys behind the cursor whose records may go, in their order, and whether there are more.
func (s *sweep) candidates(ctx context.Context, r rule) (keys []string, more bool, err error) {
	s.found = 0
	for key, err := range s.steady.list(ctx, r.prefix) {
		if err != nil {
			return nil, false, err
		}
		if s.found++; key <= s.stage.Cursors[r.prefix] || !r.mayGo(key) {
			continue
		}
		if keys = append(keys, key); len(keys) >= 2*sweepBatch {
			slices.Sort(keys)
			keys, more = keys[:sweepBatch], true
		}
	}
	slices.Sort(keys)
	if len(keys) > sweepBatch {
		return keys[:sweepBatch], true, nil
	}
	return keys, more, nil
}

// judge deletes the record at the key if it may go.
func (s *sweep) judge(ctx context.Context, r rule, key string) error {
	item, err := s.steady.load(ctx, key)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, storage.ErrSealed):
		return nil // there is none, or none that can be read
	case err != nil:
		return err
	}
	goes, err := r.judge(ctx, storage.Record{Key: key, Item: item})
	if err != nil || !goes {
		return err
	}
	err = s.steady.remove(ctx, key, item.Revision)
	if errors.Is(err, storage.ErrConflict) {
		return nil // somebody has come back to it
	}
	if err == nil {
		s.count(r.prefix)
	}
	return err
}

// count counts a record that was deleted below a prefix.
func (s *sweep) count(prefix string) {
	if s.stage.Deleted == nil {
		s.stage.Deleted = make(map[string]int)
	}
	s.stage.Deleted[prefix]++
	s.swept.Add(1)
}
