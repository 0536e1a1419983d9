package storagetest

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/everseal/everseal/storage"
)

const (
	shortTerm = time.Second // of leases whose end a case waits for
	longTerm  = time.Hour   // of leases that no case may see end
)

func leaseCases() []testCase {
	return []testCase{
		{"LeaseExclusion", "Many machines want to renew the same certificate. One of them at a time may, and each must " +
			"see what the one before it left.", testLeaseExclusion},
		{"LeaseRace", "All of a fleet may find a lease free in the same moment. One of them has it then.", testLeaseRace},
		{"LeaseValue", "The value is the work record: whoever takes over must find it, however its last holder ended.", testLeaseValue},
		{"LeaseTakeOver", "A machine that is gone must not hold up the others for ever, and one that can't reach the store any more " +
			"must find out before another takes over.", testLeaseTakeOver},
		{"LeaseFenced", "A process can be suspended between any two instructions and come back after its lease has gone to another. " +
			"What it then writes must be refused, and its renewal and release must leave the new holder's lease alone.", testLeaseFenced},
		{"LeaseReleased", "A holder that has released must have no hand in the lease any more; released locks whose renewal went on " +
			"have kept others' locks alive for ever.", testLeaseReleased},
		{"LeaseCorrupt", "A damaged record must not stop renewals for good.", testLeaseCorrupt},
		{"LeaseContext", "A process that is shutting down does not wait for leases, and gives up those it has.", testLeaseContext},
	}
}

func acquire(t *testing.T, s storage.Store, key string, term time.Duration) *storage.Lease {
	t.Helper()
	lease, err := storage.Acquire(t.Context(), s, key, term)
	if err != nil {
		t.Fatalf("Acquire(%q): %v", key, err)
	}
	return lease
}

// hold acquires a lease of a short term and saves value. On a slow machine that may need more than one attempt.
func hold(t *testing.T, s storage.Store, key, value string) *storage.Lease {
	t.Helper()
	for {
		lease := acquire(t, s, key, shortTerm)
		err := lease.Save(t.Context(), []byte(value))
		if err == nil {
			return lease
		}
		if !errors.Is(err, storage.ErrLost) {
			t.Fatalf("Save in a new lease: %v", err)
		}
		release(t, lease)
	}
}

func release(t *testing.T, lease *storage.Lease) {
	t.Helper()
	if err := lease.Release(t.Context()); err != nil {
		t.Errorf("Release: %v", err)
	}
}

func testLeaseExclusion(t *testing.T, s, other storage.Store) {
	contend(t, s, other, func(w writer) storage.Store { return w.Store })
}

func testLeaseRace(t *testing.T, s, other storage.Store) {
	contend(t, s, other, func(w writer) storage.Store { return meeting{w} })
}

// A meeting is a store from which all writers have loaded before the first of them can save.
type meeting struct{ writer }

func (m meeting) Load(ctx context.Context, key string) (storage.Item, error) {
	item, err := m.Store.Load(ctx, key)
	m.meet()
	return item, err
}

// contend lets each writer acquire a lease, through the handle that it is given, and add one to its value.
func contend(t *testing.T, s, other storage.Store, handle func(writer) storage.Store) {
	t.Helper()
	var mu sync.Mutex
	fences := make(map[uint64]int)
	together(t, s, other, func(w writer) error {
		for {
			lease, err := storage.Acquire(t.Context(), handle(w), "lease", shortTerm)
			if err != nil {
				return err
			}
			mu.Lock()
			if before, taken := fences[lease.Fence()]; taken {
				t.Errorf("writers %d and %d both hold the lease with fence %d", before, w.number, lease.Fence())
			}
			fences[lease.Fence()] = w.number
			mu.Unlock()
			n, _ := strconv.Atoi(string(lease.Value()))
			err = lease.Save(t.Context(), []byte(strconv.Itoa(n+1)))
			if releaseErr := lease.Release(t.Context()); err == nil {
				err = releaseErr
			}
			if !errors.Is(err, storage.ErrLost) {
				return err
			}
		}
	})
	lease := acquire(t, s, "lease", longTerm)
	defer release(t, lease)
	if got := string(lease.Value()); got != strconv.Itoa(writers) {
		t.Errorf("%d holders have each added one to the lease's value; it is %q", writers, got)
	}
}

func testLeaseValue(t *testing.T, s, other storage.Store) {
	ctx := t.Context()
	lease := acquire(t, s, "lease", longTerm)
	if lease.Value() != nil || lease.Fence() != 1 {
		t.Errorf("a new lease has the value %q and fence %d, want nil and 1", lease.Value(), lease.Fence())
	}
	large := bytes.Repeat([]byte("\x00\n\""), storage.MaxLeaseValue/3+1)
	if err := lease.Save(ctx, large[:storage.MaxLeaseValue+1]); !errors.Is(err, storage.ErrTooLarge) {
		t.Errorf("Save of MaxLeaseValue+1 bytes: %v, want ErrTooLarge", err)
	}
	for fence, value := range []string{"one", "", "\n", "a\nb\r\n{", string(large[:storage.MaxLeaseValue])} {
		given := []byte(value)
		if err := lease.Save(ctx, given); err != nil {
			t.Fatalf("Save: %v", err)
		}
		clear(given)
		clear(lease.Value())
		if got := lease.Value(); string(got) != value {
			t.Errorf("the holder has saved %.40q and sees %.40q", value, got)
		}
		release(t, lease)
		lease = acquire(t, other, "lease", longTerm)
		if got := lease.Value(); string(got) != value {
			t.Errorf("the last holder left %.40q, its successor finds %.40q", value, got)
		}
		if want := uint64(fence + 2); lease.Fence() != want {
			t.Errorf("the fence is %d, want %d", lease.Fence(), want)
		}
	}
	release(t, lease)
}

func testLeaseTakeOver(t *testing.T, s, other storage.Store) {
	medium := &gate{Store: s}
	lost := hold(t, medium, "lease", "left behind")
	medium.close()
	lease := acquire(t, other, "lease", longTerm)
	defer release(t, lease)
	<-lost.Context().Done()
	if err := context.Cause(lost.Context()); !errors.Is(err, storage.ErrLost) {
		t.Errorf("the context of a lost lease has ended with %v, want ErrLost", err)
	}
	if got := string(lease.Value()); got != "left behind" {
		t.Errorf("the new holder finds %q, want what the lost one had saved", got)
	}
	if lease.Fence() <= lost.Fence() {
		t.Errorf("the new holder has fence %d, the lost one had %d", lease.Fence(), lost.Fence())
	}
	medium.open()
	release(t, lost)
}

func testLeaseFenced(t *testing.T, s, other storage.Store) {
	medium := &gate{Store: s}
	suspended := hold(t, medium, "lease", "first")
	medium.close()
	stale := make(chan error, 1)
	go func() { stale <- suspended.Save(t.Context(), []byte("stale")) }()

	lease := acquire(t, other, "lease", longTerm)
	if err := lease.Save(t.Context(), []byte("second")); err != nil {
		t.Fatalf("Save of the new holder: %v", err)
	}
	before := on(t, other).load("lease")
	medium.open()
	if err := <-stale; !errors.Is(err, storage.ErrLost) {
		t.Errorf("Save of a holder resumed after its lease has gone to another: %v, want ErrLost", err)
	}
	if err := suspended.Save(t.Context(), []byte("stale again")); !errors.Is(err, storage.ErrLost) {
		t.Errorf("another Save of it: %v, want ErrLost", err)
	}
	release(t, suspended) // returns when its renewal has ended too
	if after := on(t, other).load("lease"); after.Revision != before.Revision {
		t.Errorf("a former holder has changed its successor's record from\n%q to\n%q", before.Value, after.Value)
	}
	if err := lease.Context().Err(); err != nil {
		t.Errorf("the new holder's context has ended: %v", context.Cause(lease.Context()))
	}
	release(t, lease)
	next := acquire(t, s, "lease", longTerm)
	defer release(t, next)
	if got := string(next.Value()); got != "second" {
		t.Errorf("the lease carries %q, want what its rightful holder saved", got)
	}
}

func testLeaseReleased(t *testing.T, s, other storage.Store) {
	ctx := t.Context()
	old := hold(t, s, "lease", "first")
	release(t, old)
	if old.Context().Err() == nil {
		t.Error("the context of a released lease has not ended")
	}
	lease := acquire(t, other, "lease", longTerm)
	defer release(t, lease)
	before := on(t, s).load("lease")
	release(t, old)
	if err := old.Save(ctx, []byte("stale")); !errors.Is(err, storage.ErrLost) {
		t.Errorf("Save after Release: %v, want ErrLost", err)
	}
	// Several renewals of the old holder would fall into this time, if it still made any.
	waiting, cancel := context.WithTimeout(ctx, shortTerm)
	defer cancel()
	if _, err := storage.Acquire(waiting, s, "lease", shortTerm); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Acquire of a lease that is held: %v, want it to wait", err)
	}
	if after := on(t, s).load("lease"); after.Revision != before.Revision {
		t.Errorf("the record of a lease that another holds has changed from\n%q to\n%q", before.Value, after.Value)
	}
}

func testLeaseCorrupt(t *testing.T, s, other storage.Store) {
	for name, value := range map[string]string{
		"empty": "", "text": "hello", "list": "[1]", "null": "null", "cut": `{"version":1,"own`, "no-term": `{"version":1,"beat":"x"}`,
		"negative-term": `{"version":1,"beat":"x","term":"-1s"}`, "bytes": "\x00\xff\n\n", "types": `{"version":"1","term":5}`,
	} {
		key := "corrupt/" + name
		on(t, s).save(key, value, "")
		lease := acquire(t, other, key, shortTerm/10)
		if string(lease.Value()) != value || lease.Fence() != 1 {
			t.Errorf("the lease that replaces a record of %q has the value %q and fence %d, want the same and 1",
				value, lease.Value(), lease.Fence())
		}
		release(t, lease)
	}
}

func testLeaseContext(t *testing.T, s, other storage.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	lease, err := storage.Acquire(ctx, s, "lease", longTerm)
	if err != nil {
		t.Fatalf("Acquire: %v", err)
	}
	waiting := make(chan error, 1)
	looked := &announced{Store: other, loads: make(chan struct{}, 1)}
	go func() {
		_, err := storage.Acquire(ctx, looked, "lease", longTerm)
		waiting <- err
	}()
	<-looked.loads
	cancel()
	if err := <-waiting; !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), `"lease"`) {
		t.Errorf("Acquire whose context ends while it waits: %v, want context.Canceled and the key", err)
	}
	<-lease.Context().Done()
	if err := lease.Save(t.Context(), []byte("tidied up")); err != nil {
		t.Errorf("Save right after the context given to Acquire has ended: %v", err)
	}
	release(t, lease)
	if taken, err := storage.Acquire(ctx, s, "lease", longTerm); !errors.Is(err, context.Canceled) {
		t.Errorf("Acquire under a cancelled context: %v, want context.Canceled", err)
		if taken != nil {
			release(t, taken)
		}
	}
	next := acquire(t, s, "lease", longTerm)
	defer release(t, next)
	if got := string(next.Value()); got != "tidied up" {
		t.Errorf("the lease carries %q, want what was saved last", got)
	}
}

// announced tells when something has been loaded from its store.
type announced struct {
	storage.Store
	loads chan struct{}
}

func (a *announced) Load(ctx context.Context, key string) (storage.Item, error) {
	item, err := a.Store.Load(ctx, key)
	select {
	case a.loads <- struct{}{}:
	default:
	}
	return item, err
}
