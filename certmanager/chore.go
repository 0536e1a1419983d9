package certmanager

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/everseal/everseal/storage"
)

// choreRetry is the pause after a failure, or while another member is at it.
const choreRetry = 5 * time.Minute

// A chore is work on all that is stored, which one member of the fleet does for the others, again and again. Whose turn it is
// a lease says, and in its value how far that is: another member resumes what one leaves.
type chore struct {
	store    storage.Store
	writable *writability
	logger   *slog.Logger

	key     string        // of the lease
	spread  time.Duration // by which members wait differently
	failure string        // what the log says if it can't be done

	// begin returns how long it is to the next turn and, if one is due now, what is to be done before.
	begin func(lease *storage.Lease) (wait time.Duration, work func(context.Context) error)
}

// repeat does the chore whenever it is due, until ctx ends.
func (c *chore) repeat(ctx context.Context) {
	claim := &storage.Claim{Store: c.store, Key: c.key, Term: leaseTerm}
	defer claim.Withdraw()
	for wait := time.Duration(0); ; {
		if pause(ctx, wait+rand.N(c.spread)) != nil {
			return
		}
		var err error
		if wait, err = c.once(ctx, claim); err != nil {
			wait = choreRetry
			if _, held := errors.AsType[*storage.HeldError](err); !held && ctx.Err() == nil {
				c.logger.LogAttrs(ctx, slog.LevelDebug, c.failure, slog.String("error", err.Error()))
			}
		}
	}
}

// once does the chore if it is due, and returns how long it is to the next time.
func (c *chore) once(ctx context.Context, claim *storage.Claim) (wait time.Duration, err error) {
	if _, err := c.writable.check(ctx); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slow := time.AfterFunc(storageTimeout, func() { cancel(errSlowStorage) })
	lease, err := claim.Try(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = cmp.Or(err, attend(ctx, storeTimeout, lease.Release)) }()
	if !slow.Stop() {
		return 0, errSlowStorage
	}
	wait, work := c.begin(lease)
	if work == nil {
		return wait, nil
	}
	return wait, work(lease.Context())
}

// noteStage has the storage know how far a chore is.
func noteStage(ctx context.Context, lease *storage.Lease, stage any) error {
	value, err := json.Marshal(stage)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := lease.Save(ctx, value); err != nil {
		return fmt.Errorf("note how far it is: %w", err)
	}
	return nil
}
