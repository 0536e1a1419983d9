package storage_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

// A referee is a medium that compares each write of the lease which it has taken with what the rules allow: the owner
// there was goes on, or frees it, or another takes it with the next fence and the value that was left, or with what it has made
// of that one.
type referee struct {
	storage.Store
	t *testing.T

	mu      sync.Mutex // held during writes
	owner   string
	fence   uint64
	value   string
	takings int // by another than the holder that had released
}

func (r *referee) Save(ctx context.Context, key string, value []byte, old storage.Revision) (storage.Revision, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	revision, err := r.Store.Save(ctx, key, value, old)
	if err != nil {
		return "", err
	}
	line, carried, _ := bytes.Cut(value, []byte("\n"))
	var record struct {
		Owner string
		Fence uint64
	}
	if err := json.Unmarshal(line, &record); err != nil {
		r.t.Error(err)
	}
	switch {
	case record.Fence == r.fence+1 && record.Owner != "" && (string(carried) == r.value || string(carried) == r.value+" taken"):
		if r.owner != "" {
			r.takings++
		}
	case record.Fence == r.fence && r.owner != "" && (record.Owner == r.owner || record.Owner == ""):
	default:
		r.t.Errorf("a second writer: owner %q with fence %d writes %q over %q of owner %q with fence %d",
			record.Owner, record.Fence, carried, r.value, r.owner, r.fence)
	}
	r.owner, r.fence, r.value = record.Owner, record.Fence, string(carried)
	return revision, nil
}

// A fleet is several clients that want one lease.
type fleet struct {
	t         *testing.T
	medium    *referee
	term      time.Duration
	handovers uint64

	mu   sync.Mutex
	held map[*storage.Lease]bool // all whose context may not have ended; guarded by mu
}

// took notes that a client has the lease: nobody else may think so.
func (f *fleet) took(lease *storage.Lease) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for other := range f.held {
		if other.Context().Err() != nil {
			delete(f.held, other)
		} else {
			f.t.Errorf("the holder with fence %d goes on when another has fence %d", other.Fence(), lease.Fence())
		}
	}
	f.held[lease] = true
}

// client competes for the lease until there were enough handovers. Its clock runs at the rate, compared with others.
func (f *fleet) client(ctx context.Context, random *rand.Rand, rate float64) {
	for ctx.Err() == nil {
		store := &storagetest.Faulty{Store: f.medium, Seed: random.Uint64()} // a new process
		usual := storagetest.Fault{Share: 0.02, Kind: storagetest.Kind(random.IntN(2))}
		store.SetFaults(usual, storagetest.Fault{Kind: storagetest.Late, On: storagetest.Save, Share: 0.02, Delay: f.term / 3})
		for alive := true; alive && ctx.Err() == nil; {
			lease, ok := f.acquire(ctx, store, random, rate)
			if !ok {
				break
			}
			alive = f.work(ctx, store, lease, random)
		}
		store.Release()
	}
}

// acquire tries until it has the lease, as a clock of the rate sees the time. Between the two halves of every other try it
// does something else.
func (f *fleet) acquire(ctx context.Context, store storage.Store, random *rand.Rand, rate float64) (*storage.Lease, bool) {
	claim := storage.Claim{Store: store, Key: "lease", Term: f.term}
	defer claim.Withdraw()
	last := time.Now()
	for ctx.Err() == nil {
		claim.Hurry(time.Duration(float64(time.Since(last)) * (rate - 1)))
		last = time.Now()
		value, _, err := claim.Check(ctx)
		if err == nil && random.IntN(2) == 0 {
			time.Sleep(time.Duration(random.Int64N(int64(f.term / 4))))
			value = append(value, " taken"...)
		}
		var lease *storage.Lease
		if err == nil {
			lease, err = claim.Take(ctx, value)
		}
		if err == nil {
			f.took(lease)
			return lease, true
		}
		wait := f.term / 10
		if held, ok := errors.AsType[*storage.HeldError](err); ok {
			wait = held.RetryAfter
		}
		time.Sleep(wait)
	}
	return nil, false
}

// work uses the lease, and ends as processes do: it reports whether the process lives on.
func (f *fleet) work(ctx context.Context, store *storagetest.Faulty, lease *storage.Lease, random *rand.Rand) bool {
	for n := range random.IntN(3) {
		if err := lease.Save(ctx, fmt.Appendf(nil, "%d.%d", lease.Fence(), n)); errors.Is(err, storage.ErrLost) {
			break
		}
		time.Sleep(time.Duration(random.Int64N(int64(f.term / 8))))
	}
	switch random.IntN(12) {
	case 0: // killed: of what comes after nothing reaches the medium
		store.SetFaults(storagetest.Fault{})
		return false
	case 1: // suspended, for up to three terms; what it was about to do it then does
		store.SetFaults(storagetest.Fault{Kind: storagetest.Stuck, Delay: time.Duration(random.Int64N(int64(3 * f.term)))})
		_ = lease.Save(ctx, []byte("by one that was suspended"))
		store.SetFaults()
	}
	if random.IntN(2) == 0 {
		_ = lease.SaveAndRelease(ctx, []byte("the last"))
	}
	_ = lease.Release(ctx) // where that fails, others wait for the term
	return true
}

// run lets clients with clocks of different rates compete until there were enough handovers. Up to half as fast again
// as the holder's, no observer takes a lease whose holder has not given it up: it does so after two thirds of the term.
func (f *fleet) run(ctx context.Context) {
	f.held = make(map[*storage.Lease]bool)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var clients sync.WaitGroup
	for n, rate := range []float64{0.6, 0.9, 1, 1, 1.1, 1.4} {
		clients.Go(func() { f.client(ctx, rand.New(rand.NewPCG(7, uint64(n))), rate) })
	}
	for done := false; !done; {
		time.Sleep(f.term)
		f.medium.mu.Lock()
		done = f.medium.fence >= f.handovers || f.t.Failed()
		f.medium.mu.Unlock()
	}
	cancel()
	clients.Wait()
	f.t.Logf("%d handovers, %d of them from holders that had not released", f.medium.fence, f.medium.takings)
	if f.medium.takings == 0 {
		f.t.Error("no lease was taken from a holder that had not released it")
	}
}

func TestLeaseModel(t *testing.T) {
	handovers := uint64(10_000)
	if raceDetector || testing.Short() {
		handovers = 500
	}
	synctest.Test(t, func(t *testing.T) {
		medium := &referee{Store: new(storage.Memory), t: t}
		f := fleet{t: t, medium: medium, term: 10 * time.Second, handovers: handovers}
		f.run(t.Context())
	})
}

// The same on a folder; the time is still that of a bubble, as files are no reason for it to stand still.
func TestLeaseModelDir(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		medium := &referee{Store: storage.Dir(t.TempDir()), t: t}
		f := fleet{t: t, medium: medium, term: 10 * time.Second, handovers: 60}
		f.run(t.Context())
	})
}
