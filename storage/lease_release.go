package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// Release gives the lease back, with its value, so that others get it at once. It ends the lease's
// context, waits until the renewal has stopped, and frees the record. It returns nil if that is done, also
// if it was done before, and if the lease was lost: then it changes nothing, whoever holds the lease now.
// After an error (the store failed, or ctx ended) this holder has no lease any more, but others may have
// to wait for the term; Release may be called again.
func (l *Lease) Release(ctx context.Context) error {
	if l.ctx == nil {
		return nil
	}
	if _, err := l.release(ctx, l.free(func(*leaseRecord) {})); !errors.Is(err, ErrLost) {
		return err
	}
	return nil
}

// SaveAndRelease is Save and Release in one write. The error wraps [ErrTooLarge] as that of Save does, and the lease is
// held then; it wraps [ErrLost] if the lease is no longer this holder's. After any other error, as after one of Release,
// this holder has no lease any more, and the value may or may not have been stored; SaveAndRelease or Release may
// be called again, and SaveAndRelease answers ErrLost then if it was done before.
func (l *Lease) SaveAndRelease(ctx context.Context, value []byte) error {
	if l.ctx == nil {
		return errNeverHeld
	}
	if len(value) > MaxLeaseValue {
		return tooLarge(l.key, len(value), MaxLeaseValue)
	}
	value = append([]byte(nil), value...)
	done, err := l.release(ctx, l.free(func(r *leaseRecord) { r.value = value }))
	if err == nil && !done {
		return l.lost("")
	}
	return err
}

// Delete gives the lease back and deletes its record, with the value. Who takes the lease next has Fence 1. The
// error wraps [ErrLost] if the lease is no longer this holder's: then nothing was deleted. After any other error, as after
// one of Release, this holder has no lease any more; Delete or Release may be called again.
func (l *Lease) Delete(ctx context.Context) error {
	if l.ctx == nil {
		return errNeverHeld
	}
	done, err := l.release(ctx, l.remove)
	if err == nil && !done {
		return l.lost("")
	}
	return err
}

// remove deletes the record. It returns nil once it is certain that it is gone. The caller has the turn.
func (l *Lease) remove(ctx context.Context) error {
	for {
		l.mu.Lock()
		revision := l.revision
		l.mu.Unlock()
		err := l.store.Delete(ctx, l.key, revision)
		if err == nil {
			return nil
		}
		item, loadErr := l.store.Load(ctx, l.key)
		if errors.Is(loadErr, fs.ErrNotExist) {
			return nil
		}
		if loadErr != nil {
			return fmt.Errorf("deleting the lease %q: %w (and reading it back: %w)", l.key, err, loadErr)
		}
		found, decodeErr := decodeLease(item.Value)
		switch {
		case decodeErr != nil || found.Owner != l.owner:
			return l.lost("another has changed its record")
		case !errors.Is(err, ErrConflict) || item.Revision == revision:
			return fmt.Errorf("deleting the lease %q: %w", l.key, err)
		}
		l.mu.Lock()
		l.revision = item.Revision
		l.mu.Unlock()
	}
}

// free returns what writes that nobody holds the lease, as edit changes the record besides.
func (l *Lease) free(edit func(*leaseRecord)) func(context.Context) error {
	return func(ctx context.Context) error {
		return l.write(ctx, func(r *leaseRecord) {
			r.Owner = ""
			edit(r)
		})
	}
}

// release ends the lease, and its record by what is given. It reports whether it did: not if that was done before, or the
// lease is known to be lost.
func (l *Lease) release(ctx context.Context, end func(context.Context) error) (done bool, err error) {
	l.end(leaseReleased, nil)
	defer l.unmark()
	select {
	case <-l.stopped:
	case <-ctx.Done():
		return false, fmt.Errorf("releasing the lease %q: %w", l.key, ended(ctx))
	}
	if err := l.takeTurn(ctx); err != nil {
		return false, fmt.Errorf("releasing the lease %q: %w", l.key, err)
	}
	defer l.endTurn()
	if !l.inState(leaseReleased) {
		return false, nil
	}
	err = end(ctx)
	if err != nil && !errors.Is(err, ErrLost) {
		return false, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state = leaseVacated
	return err == nil, err
}
