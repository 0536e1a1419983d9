package solver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/everseal/everseal/storage"
)

// The intervals between two checks whether another order's answer is gone.
const (
	firstTurnInterval = 250 * time.Millisecond
	maxTurnInterval   = 2 * time.Second
)

// A turn is an answer's way to a place that holds one answer at a time. An answer of another order that
// is there already has it until it is cleaned up, or until it counts as left behind: when its record has
// been seen unchanged for a term.
type turn struct {
	store  storage.Store
	key    string
	answer answer
	logger *slog.Logger
	sight
}

// A sight is what was seen of a place that another order's answer has.
type sight struct {
	holder   answer           // that was seen last
	seen     storage.Revision // of its record; empty: none was seen
	since    time.Time        // when that revision was seen first
	spread   time.Duration    // random, up to answerTerm
	interval time.Duration
	told     bool // that the answer waits
}

func newTurn(s storage.Store, key string, a answer, logger *slog.Logger) *turn {
	return &turn{store: s, key: key, answer: a, logger: logger, sight: sight{spread: rand.N(answerTerm), interval: firstTurnInterval}}
}

// await stores the answer of a turn as soon as the place is free, and returns it as stored.
func await(ctx context.Context, t *turn) (ownAnswer, error) {
	for {
		own, wait, err := t.try(ctx)
		if err != nil || wait == 0 {
			return own, err
		}
		if err := pause(ctx, wait); err != nil {
			return ownAnswer{}, fmt.Errorf("solver: %v: %w", t, err)
		}
	}
}

// String says what the answer waits for.
func (t *turn) String() string {
	return fmt.Sprintf("the answer for %q to a challenge of %.100q waits until that of another order, at %.100q, is cleaned up",
		t.answer.Identifier, t.answer.DirectoryURL, t.holder.DirectoryURL)
}

// try stores the answer if the place is free, and returns it as stored; or else how long to wait before the next try. If
// nobody was seen there it takes the place to be free, as it is unless two orders meet.
func (t *turn) try(ctx context.Context) (own ownAnswer, wait time.Duration, err error) {
	begun := time.Now()
	var revision storage.Revision
	err = storage.ErrConflict
	if t.seen == "" {
		revision, err = t.save(ctx, "")
	}
	if errors.Is(err, storage.ErrConflict) {
		revision, wait, err = t.replace(ctx)
	}
	switch {
	case err != nil:
		return ownAnswer{}, 0, fmt.Errorf("solver: store the answer for %q: %w", t.answer.Identifier, err)
	case wait > 0:
		t.tell(ctx)
		return ownAnswer{}, wait, nil
	}
	return ownAnswer{t.answer, begun, revision}, 0, nil
}

// replace stores the answer in place of what is there, if the place is free.
func (t *turn) replace(ctx context.Context) (storage.Revision, time.Duration, error) {
	old, wait, err := t.check(ctx)
	if err != nil || wait > 0 {
		return "", wait, err
	}
	revision, err := t.save(ctx, old)
	if errors.Is(err, storage.ErrConflict) {
		return "", t.next(), nil
	}
	return revision, 0, err
}

// check returns the revision of what the answer may replace, empty if nothing is there; or else how long to wait before the
// place is checked again.
func (t *turn) check(ctx context.Context) (free storage.Revision, wait time.Duration, err error) {
	begun := time.Now()
	item, err := t.store.Load(ctx, t.key)
	if errors.Is(err, fs.ErrNotExist) {
		return "", 0, nil
	}
	if err != nil {
		return "", 0, err
	}
	// A record that cannot be read answers nobody, and is in nobody's way.
	if holder, err := parseAnswer(t.key, item.Value); err == nil && holder.KeyAuthorization != t.answer.KeyAuthorization {
		if remaining := t.observe(holder, item.Revision, begun); remaining > 0 {
			return "", min(remaining, t.next()), nil
		}
	}
	return item.Revision, 0, nil
}

// tell tells once that the answer waits.
func (t *turn) tell(ctx context.Context) {
	if t.told || t.seen == "" {
		return
	}
	t.told = true
	t.logger.LogAttrs(ctx, slog.LevelInfo, "an answer for tls-alpn-01 waits until that of another order is cleaned up, or shows to be left behind",
		slog.String("identifier", t.answer.Identifier.Value), slog.String("directory", fmt.Sprintf("%.100s", t.answer.DirectoryURL)),
		slog.String("holder", fmt.Sprintf("%.100s", t.holder.DirectoryURL)))
}

// save stores the answer in place of the record of that revision.
func (t *turn) save(ctx context.Context, old storage.Revision) (storage.Revision, error) {
	t.answer.Created = time.Now().UTC()
	value, err := json.Marshal(t.answer)
	if err != nil {
		return "", err
	}
	return t.store.Save(ctx, t.key, value, old)
}

// observe returns for how long the holder's record, loaded since begun, must still not change until it
// counts as left behind.
func (t *turn) observe(holder answer, revision storage.Revision, begun time.Time) time.Duration {
	if t.seen != revision {
		t.holder, t.seen, t.since, t.interval = holder, revision, time.Now(), firstTurnInterval
		return t.patience()
	}
	return t.patience() - begun.Sub(t.since)
}

// patience returns for how long the holder's record must not change. Two orders with several names in
// common can each hold a name that the other one waits for. Then all names must go to one of them, so
// that it can end: to the one that is first by CA and account.
func (t *turn) patience() time.Duration {
	switch order := strings.Compare(t.answer.party(), t.holder.party()); {
	case order < 0:
		return answerTerm
	case order > 0:
		return 2 * answerTerm
	}
	return answerTerm + t.spread
}

// party returns whose answer it is: that of an account at a CA.
func (a answer) party() string {
	_, thumbprint, _ := strings.Cut(a.KeyAuthorization, ".")
	return a.DirectoryURL + " " + thumbprint
}

// next returns how long to wait before the place is checked again.
func (t *turn) next() time.Duration {
	wait := t.interval*3/4 + rand.N(t.interval/2)
	t.interval = min(2*t.interval, maxTurnInterval)
	return wait
}
