package certmanager

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
)

const (
	ticketPeriod   = 8 * time.Hour      // for which tickets are sealed with one key
	ticketLead     = time.Hour          // for which a key, but the first, is stored before tickets are sealed with it
	ticketGrace    = 24 * time.Hour     // for which tickets are sealed with the last key though the next one is overdue
	ticketLifetime = 7 * 24 * time.Hour // after which crypto/tls takes no ticket
	ticketInterval = 5 * time.Minute    // between two times that the keys are read
	ticketTries    = 3                  // to be the one who stores a new key, before the others' is waited for
)

// A ticketKeeper has the tickets of this manager sealed with the keys that all members have. It reads them now and then, and
// stores the next one, an hour before it is used, if no other member was faster. No handshake waits for it.
type ticketKeeper struct {
	store    storage.Store
	tickets  *tickets
	emit     func(context.Context, Event)
	logger   *slog.Logger
	readOnly bool // no key is stored

	keys     record.TicketKeys // as they were read last
	revision storage.Revision  // of what they were read from; "" if that was no record, or none that can be used
	told     bool              // that there are none to be used
}

// run keeps the keys until ctx ends.
func (k *ticketKeeper) run(ctx context.Context) {
	for {
		err := k.update(ctx)
		now := time.Now()
		k.publish(now)
		k.tell(ctx, err, now)
		wait := ticketInterval*3/4 + rand.N(ticketInterval/2)
		if next := nextTicketKey(k.keys, now); !next.IsZero() {
			wait = min(wait, next.Sub(now))
		}
		if pause(ctx, wait) != nil {
			return
		}
	}
}

// update reads the keys, and stores the next one if it is time.
func (k *ticketKeeper) update(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, storageTimeout, errSlowStorage)
	defer cancel()
	for range ticketTries {
		if err = k.updateOnce(ctx); !errors.Is(err, storage.ErrConflict) {
			break
		}
	}
	return slowStorage(ctx, err)
}

func (k *ticketKeeper) updateOnce(ctx context.Context) error {
	item, err := k.store.Load(ctx, record.TicketsKey)
	var keys record.TicketKeys
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case errors.Is(err, storage.ErrSealed):
		return &ticketRecordError{err}
	case err != nil:
		return err
	case item.Revision == k.revision:
		keys = k.keys
	default:
		if keys, err = record.DecodeTicketKeys(item.Value); err != nil {
			return &ticketRecordError{err}
		}
	}
	now := time.Now()
	if n := len(keys); n > 0 && keys[n-1].From.After(now.Add(2*ticketLead)) {
		return &ticketRecordError{fmt.Errorf("it has a key for %s, and now it is %s: one of two clocks is wrong", keys[n-1].From.Format(time.RFC3339), now.UTC().Format(time.RFC3339))}
	}
	k.keys, k.revision = keys, item.Revision
	next, isDue := withNextKey(keys, now)
	if !isDue || k.readOnly {
		return nil
	}
	value, err := next.Encode()
	if err != nil {
		return err
	}
	revision, err := k.store.Save(ctx, record.TicketsKey, value, item.Revision)
	if err != nil {
		return err
	}
	k.keys, k.revision = next, revision
	return nil
}

// A ticketRecordError says why the stored keys can't be used. What is stored is left alone.
type ticketRecordError struct{ error }

func (e *ticketRecordError) Unwrap() error { return e.error }

// publish has tickets sealed and opened by the keys.
func (k *ticketKeeper) publish(now time.Time) {
	fleet := new(fleetTickets)
	var secrets [][32]byte
	for _, key := range k.keys {
		switch {
		case key.From.After(now):
			secrets = append(secrets, key.Secret) // to open those of members whose clock is ahead
		case endOfTickets(key).After(now):
			secrets = append([][32]byte{key.Secret}, secrets...) // tickets are sealed with the first
			fleet.until = endOfSealing(key)
		}
	}
	if len(secrets) == 0 {
		fleet = nil
	} else {
		fleet.keys.SetSessionTicketKeys(secrets)
	}
	k.tickets.fleet.Store(fleet)
}

// tell reports once that there are no keys to be used, and why.
func (k *ticketKeeper) tell(ctx context.Context, err error, now time.Time) {
	_, unusable := errors.AsType[*ticketRecordError](err)
	if unusable {
		k.keys, k.revision = nil, ""
		k.publish(now)
		err = fmt.Errorf("certmanager: the keys of session tickets, at %s in the storage, can't be used: %w: sessions of other members are not resumed until that is mended; once the record is deleted, new keys are made", record.TicketsKey, err)
	}
	fleet := k.tickets.fleet.Load()
	switch {
	case err == nil:
		k.told = false
	case ctx.Err() != nil, k.told:
	case unusable:
		k.told = true
		k.emit(ctx, Event{Kind: EventWarning, Err: err})
	case fleet == nil || !now.Before(fleet.until):
		k.told = true
		k.emit(ctx, Event{Kind: EventWarning, Err: fmt.Errorf("certmanager: the keys of session tickets can't be had from the storage, and sessions of other members are not resumed: %w", err)})
	default:
		k.logger.LogAttrs(ctx, slog.LevelDebug, "the keys of session tickets can't be had from the storage; the last ones are used", slog.String("error", err.Error()))
	}
}

// withNextKey returns the keys with the next one, without those whose tickets are not taken any more, and whether it is time
// to store that. The first one of all is used at once: until the other members have read it they can't open its tickets, but
// without it they could open none.
func withNextKey(keys record.TicketKeys, now time.Time) (next record.TicketKeys, isDue bool) {
	from := now.Add(ticketLead)
	if len(keys) == 0 {
		from = now
	}
	if n := len(keys); n > 0 {
		due := keys[n-1].From.Add(ticketPeriod)
		if from.Before(due) {
			return keys, false
		}
	}
	for _, key := range keys {
		if endOfTickets(key).After(now) {
			next = append(next, key)
		}
	}
	return append(next, record.NewTicketKey(from)), true
}

// endOfSealing returns when tickets are to be sealed with the key no more, because the next one is long overdue. At its turn
// that takes over by being published: handshakes of the same instant are still sealed with this one.
func endOfSealing(key record.TicketKey) time.Time {
	return key.From.Add(ticketPeriod + ticketGrace)
}

// endOfTickets returns when the last ticket that a member may have sealed with the key, not knowing the next one, is not taken
// any more.
func endOfTickets(key record.TicketKey) time.Time {
	return endOfSealing(key).Add(ticketLifetime)
}

// nextTicketKey returns when it is another key's turn; zero: that is not known yet.
func nextTicketKey(keys record.TicketKeys, now time.Time) time.Time {
	for _, key := range keys {
		if key.From.After(now) {
			return key.From
		}
	}
	return time.Time{}
}
