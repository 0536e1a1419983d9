package engines

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/anishathalye/porcupine"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/server"
)

// judge returns nil if one order of the calls explains what each has answered. Otherwise a picture of the calls is in the folder.
func judge(h history, folder string) error {
	for key, calls := range h {
		calls, err := complete(calls)
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		result, found := porcupine.CheckOperationsVerbose(register(), operations(calls), server.Patience)
		if result == porcupine.Ok {
			continue
		}
		picture := filepath.Join(folder, strings.ReplaceAll(key, "/", "-")+".html")
		if err := porcupine.VisualizePath(register(), found, picture); err != nil {
			return err
		}
		return fmt.Errorf("%s: no order explains the %d calls (%s); see %s", key, len(calls), result, picture)
	}
	return nil
}

// Four processes, one of them through connections that are cut, and some of them killed, call each engine at the same instants.
func TestLinearizable(t *testing.T) {
	const events, kills = 3000, 5
	eachEngine(t, func(t *testing.T, p place) {
		urls := [4]string{p.url, p.url, p.url, p.url}
		var cutter *server.Cutter
		if p.address != "" {
			cutter = server.NewCutter(t, p.address)
			cutter.CutWithin(15_000)
			urls[3] = p.by(cutter.Address())
		}
		var all []event
		callers := 0
		tr := &troop{
			start: func(i int) *child {
				callers += callersOfChild
				return startChild(t, "call", []string{urls[i], strconv.Itoa(callers - callersOfChild)})
			},
			heard: func(line string) {
				var e event
				if err := json.Unmarshal([]byte(line), &e); err != nil {
					t.Errorf("a child says %q", line)
				}
				all = append(all, e)
			},
			// While a call is under way.
			victim: func(speaker int, line string) int {
				if strings.Contains(line, `"Outcome"`) {
					return -1
				}
				return speaker
			},
		}
		tr.run(t, events, kills)
		h := historyOf(all)
		if err := judge(h, t.ArtifactDir()); err != nil {
			t.Error(err)
		}
		cuts := 0
		if cutter != nil {
			cuts = cutter.Cuts()
		}
		t.Logf("%d events, %d calls of unknown outcome, %d kills, %d cuts", len(all), h.unknown(), tr.killed, cuts)
	})
}

// record returns the history of some callers of the store.
func record(t *testing.T, s storage.Store) history {
	t.Helper()
	var all []event
	err := callers(t.Context(), s, 0, 4, func(c *caller) error { return c.run(t.Context(), 300, 0) }, func(e event) { all = append(all, e) })
	if err != nil {
		t.Fatal(err)
	}
	return historyOf(all)
}

var errLostAnswer = errors.New("the answer was lost")

// What keeps the contract passes, also if it loses answers before or after the change; each way to break it is found.
func TestRefuted(t *testing.T) {
	tests := []struct {
		name  string
		sound bool
		store func(broken) storage.Store
	}{
		{"sound", true, func(b broken) storage.Store { return b.Store }},
		{"answers lost", true, func(b broken) storage.Store { return answersLost{b} }},
		{"stale reads", false, func(b broken) storage.Store { return staleReads{b} }},
		{"revision ignored", false, func(b broken) storage.Store { return revisionIgnored{b} }},
		{"acknowledged save lost", false, func(b broken) storage.Store { return saveLost{b} }},
		{"acknowledged delete lost", false, func(b broken) storage.Store { return deleteLost{b} }},
		{"conflict with itself", false, func(b broken) storage.Store { return selfConflict{b} }},
		{"revision of the content", false, func(b broken) storage.Store { return revisionReused{b} }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := record(t, test.store(broken{new(storage.Memory), new(sync.Map)}))
			err := judge(h, t.TempDir())
			if test.sound && err != nil || !test.sound && err == nil {
				t.Errorf("judge: %v", err)
			}
			t.Logf("%d of unknown outcome: %v", h.unknown(), err)
		})
	}
}

// A broken store breaks its contract at about half of the calls at which it can. A client that is alone for long enough names few
// stale revisions: the few dozen chances that it gives must not all be missed.
type broken struct {
	storage.Store
	past *sync.Map // items by key, as they were loaded some time
}

// breaks reports whether the contract is broken at this call.
func (broken) breaks() bool { return rand.IntN(2) == 0 }

type staleReads struct{ broken }

func (s staleReads) Load(ctx context.Context, key string) (storage.Item, error) {
	if old, ok := s.past.Load(key); ok && s.breaks() {
		return old.(storage.Item), nil
	}
	item, err := s.broken.Load(ctx, key)
	if err == nil {
		s.past.LoadOrStore(key, item)
	}
	return item, err
}

type revisionIgnored struct{ broken }

func (s revisionIgnored) Save(ctx context.Context, key string, value []byte, old storage.Revision) (storage.Revision, error) {
	for {
		item, err := s.Load(ctx, key)
		if err == nil && s.breaks() {
			old = item.Revision
		}
		revision, err := s.broken.Save(ctx, key, value, old)
		if err == nil || !errors.Is(err, storage.ErrConflict) || old != item.Revision {
			return revision, err
		}
	}
}

type saveLost struct{ broken }

func (s saveLost) Save(ctx context.Context, key string, value []byte, old storage.Revision) (storage.Revision, error) {
	if item, _ := s.Load(ctx, key); item.Revision == old && s.breaks() {
		return storage.Revision("lost " + string(value)), nil
	}
	return s.broken.Save(ctx, key, value, old)
}

type deleteLost struct{ broken }

func (s deleteLost) Delete(ctx context.Context, key string, old storage.Revision) error {
	if item, _ := s.Load(ctx, key); old != "" && item.Revision == old && s.breaks() {
		return nil
	}
	return s.broken.Delete(ctx, key, old)
}

// selfConflict takes what it has stored itself for another's.
type selfConflict struct{ broken }

func (s selfConflict) Save(ctx context.Context, key string, value []byte, old storage.Revision) (storage.Revision, error) {
	revision, err := s.broken.Save(ctx, key, value, old)
	if err == nil && s.breaks() {
		return "", storage.Conflict(key)
	}
	return revision, err
}

// revisionReused gives two values the same revision, as one does that is made from the content.
type revisionReused struct{ broken }

func (s revisionReused) Load(ctx context.Context, key string) (storage.Item, error) {
	item, err := s.broken.Load(ctx, key)
	if err == nil {
		item.Revision = storage.Revision(fmt.Sprint("length ", len(item.Value)))
	}
	return item, err
}

func (s revisionReused) Save(ctx context.Context, key string, value []byte, old storage.Revision) (storage.Revision, error) {
	item, err := s.broken.Load(ctx, key)
	if err == nil && old == storage.Revision(fmt.Sprint("length ", len(item.Value))) {
		old = item.Revision
	}
	if _, err := s.broken.Save(ctx, key, value, old); err != nil {
		return "", err
	}
	return storage.Revision(fmt.Sprint("length ", len(value))), nil
}

// answersLost says of some calls that it does not know what became of them, as it may.
type answersLost struct{ broken }

// loses reports whether an answer is lost at this call. Each that is makes more to search.
func (answersLost) loses() bool { return rand.IntN(10) == 0 }

func (s answersLost) Save(ctx context.Context, key string, value []byte, old storage.Revision) (storage.Revision, error) {
	if s.loses() {
		return "", errLostAnswer
	}
	revision, err := s.broken.Save(ctx, key, value, old)
	if s.loses() {
		return "", errLostAnswer
	}
	return revision, err
}

func (s answersLost) Delete(ctx context.Context, key string, old storage.Revision) error {
	if s.loses() {
		return errLostAnswer
	}
	err := s.broken.Delete(ctx, key, old)
	if s.loses() {
		return errLostAnswer
	}
	return err
}
