package tally_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager/internal/budget"
	"github.com/everseal/everseal/certmanager/internal/tally"
	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

var (
	weekly = budget.Limit{Count: 50, Per: 7 * 24 * time.Hour}
	orders = budget.Limit{Count: 300, Per: 3 * time.Hour}
)

const (
	key      = "budgets/ca/default/orders"
	allCalls = storagetest.Load | storagetest.Writes
)

// member returns the tally of another process on the store.
func member(store storage.Store, limit budget.Limit) *tally.Tally {
	return (&tally.Book{Store: store}).Tally(key, limit)
}

// takeMany has n take at once, and returns how many got one.
func takeMany(t *testing.T, of *tally.Tally, n int, class budget.Class) (granted int) {
	t.Helper()
	var group sync.WaitGroup
	var mu sync.Mutex
	for range n {
		group.Go(func() {
			err := of.Take(t.Context(), class)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				granted++
			} else if !errors.As(err, new(*tally.SpentError)) {
				t.Error(err)
			}
		})
	}
	group.Wait()
	return granted
}

// Of what several processes want at once, no more is granted than the limit has.
func TestMembersShare(t *testing.T) {
	for _, limit := range []budget.Limit{weekly, orders} {
		synctest.Test(t, func(t *testing.T) {
			store := new(storage.Memory)
			var group sync.WaitGroup
			granted := make([]int, 4)
			for i := range granted {
				group.Go(func() { granted[i] = takeMany(t, member(store, limit), 100, budget.Urgent) })
			}
			group.Wait()
			all := 0
			for _, n := range granted {
				all += n
			}
			if all != limit.Count {
				t.Errorf("%v: %v were granted, want %d", limit, granted, limit.Count)
			}
		})
	}
}

// A slow token is one write, and one that is dead has taken no more than it got. Of a fast limit there is a write a second, for
// all who ask.
func TestWrites(t *testing.T) {
	for _, test := range []struct {
		limit  budget.Limit
		asks   int
		writes int
	}{
		{weekly, 20, 20},
		{orders, 1, 1},
		{orders, 16, 1},
		{orders, 17, 2},
		{orders, 160, 10},
		{budget.Limit{Count: 1000, Per: 10 * time.Hour}, 50, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			store := new(storagetest.Faulty)
			of := member(store, test.limit)
			// All have asked before the first is answered: a storage takes its time.
			store.SetFaults(storagetest.Fault{Kind: storagetest.Slow, Delay: time.Millisecond})
			go takeMany(t, of, test.asks, budget.Urgent)
			synctest.Wait()
			time.Sleep(20 * time.Second)
			synctest.Wait()
			// The first one takes alone, while the others are still to ask.
			if writes := store.Calls(storagetest.Save); writes != test.writes && writes != test.writes+1 {
				t.Errorf("%v: %d took one each with %d writes, want %d", test.limit, test.asks, writes, test.writes)
			}
			left := member(store, test.limit)
			if got := takeMany(t, left, test.limit.Count, budget.Urgent); got != test.limit.Count-test.asks {
				t.Errorf("%v: %d are left after %d were taken", test.limit, got, test.asks)
			}
		})
	}
}

// What is not used is given back: a slow token in the storage, a fast one for a few seconds to whoever asks here.
func TestGiveBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(storagetest.Faulty)
		slow := member(store, weekly)
		takeMany(t, slow, 50, budget.Urgent)
		if err := slow.GiveBack(time.Now())(t.Context()); err != nil {
			t.Error(err)
		}
		if n := takeMany(t, member(store, weekly), 2, budget.Urgent); n != 1 {
			t.Errorf("another takes %d of what was given back, want 1", n)
		}
	})
	for after, want := range map[time.Duration]int{4 * time.Second: 2, 6 * time.Second: 0} {
		synctest.Test(t, func(t *testing.T) {
			store := new(storagetest.Faulty)
			fast := member(store, budget.Limit{Count: 20, Per: 20 * time.Minute})
			if n := takeMany(t, fast, 20, budget.Urgent); n != 20 {
				t.Fatalf("%d were granted", n)
			}
			calls := store.Calls(allCalls)
			fast.GiveBack(time.Now())(t.Context())
			fast.GiveBack(time.Now())(t.Context())
			time.Sleep(after)
			if n := takeMany(t, fast, 3, budget.Urgent); n != want || store.Calls(allCalls) != calls {
				t.Errorf("%v after two were given back, %d are taken, want %d, with %d calls of the storage", after, n, want, store.Calls(allCalls)-calls)
			}
		})
	}
}

// The CA's word reaches the other member at its next look.
func TestCorrect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(storage.Memory)
		a, b := member(store, orders), member(store, orders)
		if n := takeMany(t, a, 3, budget.New) + takeMany(t, b, 3, budget.New); n != 6 {
			t.Fatalf("%d were granted", n)
		}
		until := time.Now().Add(2 * time.Hour)
		if err := a.Correct(t.Context(), until); err != nil {
			t.Fatal(err)
		}
		err := b.Take(t.Context(), budget.Urgent)
		spent, ok := errors.AsType[*tally.SpentError](err)
		if !ok || !spent.Next.Equal(until) {
			t.Errorf("the other member is told %v, want one that ends at %v", err, until)
		}
		time.Sleep(2 * time.Hour)
		if n := takeMany(t, b, 5, budget.Urgent); n != 1 {
			t.Errorf("%d are granted then, want 1", n)
		}
	})
}

// What is known to be spent costs no call of the storage, and the urgent get theirs before others.
func TestUrgentFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(storagetest.Faulty)
		of := member(store, orders)
		if n := takeMany(t, of, 400, budget.New); n != 270 {
			t.Errorf("%d new names got one, want 270", n)
		}
		calls := store.Calls(allCalls)
		if n := takeMany(t, of, 100, budget.New); n != 0 || store.Calls(allCalls) != calls {
			t.Errorf("%d more did, with %d calls", n, store.Calls(allCalls)-calls)
		}
		if n := takeMany(t, of, 100, budget.Early); n != 15 {
			t.Errorf("%d renewals got one, want 15", n)
		}
		if n := takeMany(t, of, 100, budget.Urgent); n != 15 {
			t.Errorf("%d urgent ones got one, want 15", n)
		}
	})
}

// A storage that fails grants nothing, and what it says is passed on.
func TestFailingStorage(t *testing.T) {
	for _, kind := range []storagetest.Kind{storagetest.Fail, storagetest.Hang} {
		for _, limit := range []budget.Limit{weekly, orders} {
			synctest.Test(t, func(t *testing.T) {
				store := new(storagetest.Faulty)
				defer store.Release()
				store.SetFaults(storagetest.Fault{Kind: kind})
				of := member(store, limit)
				begun := time.Now()
				for range 3 {
					if err := of.Take(t.Context(), budget.Urgent); err == nil || errors.As(err, new(*tally.SpentError)) {
						t.Errorf("the error is %v", err)
					}
				}
				if took := time.Since(begun); took > 2*time.Minute {
					t.Errorf("it takes %v to say so", took)
				}
				store.SetFaults()
				if err := of.Take(t.Context(), budget.Urgent); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// While the record of a slow limit can't be written, those who ask are told so together and not one after another.
func TestHangingRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(storagetest.Faulty)
		defer store.Release()
		store.SetFaults(storagetest.Fault{Kind: storagetest.Hang})
		of := member(store, weekly)
		begun := time.Now()
		var group sync.WaitGroup
		for range 20 {
			group.Go(func() {
				if err := of.Take(t.Context(), budget.New); err == nil || errors.As(err, new(*tally.SpentError)) {
					t.Errorf("the error is %v", err)
				}
			})
		}
		group.Wait()
		if took := time.Since(begun); took > time.Minute {
			t.Errorf("the last of 20 is told after %v", took)
		}
	})
}

// Whose ctx ends while it asks the storage for all takes nobody else's token along.
func TestEndedContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(storagetest.Faulty)
		store.SetFaults(storagetest.Fault{Kind: storagetest.Slow, Delay: 10 * time.Second})
		of := member(store, orders)
		go takeMany(t, of, 1, budget.Urgent)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		defer cancel()
		ended := make(chan error)
		go func() { ended <- of.Take(ctx, budget.Urgent) }()
		synctest.Wait() // it is the next to ask
		n := make(chan int)
		go func() { n <- takeMany(t, of, 10, budget.New) }()
		if err := <-ended; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the one whose time is over is told %v", err)
		}
		if got := <-n; got != 10 {
			t.Errorf("%d of 10 others got one", got)
		}
	})
}

// However often a fast limit is asked for, its record is written once a second.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(storagetest.Faulty)
		of := member(store, orders)
		var group sync.WaitGroup
		for range 100 {
			group.Go(func() { takeMany(t, of, 1, budget.Urgent) })
			time.Sleep(100 * time.Millisecond)
		}
		group.Wait()
		if n := store.Calls(storagetest.Save); n > 11 {
			t.Errorf("it is written %d times in ten seconds", n)
		}
	})
}

// Slots are in the future, spaced, and those of the urgent before those of the line.
func TestSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		of := member(new(storage.Memory), orders)
		takeMany(t, of, 300, budget.Urgent)
		now, each := time.Now(), orders.Interval()
		last := now
		for range 100 {
			w := tally.Waiter{Class: budget.New}
			if !of.Next(w, now).After(now) {
				t.Fatal("a new name may try at once")
			}
			slot, _ := of.Slot(w, now)
			if gap := slot.Sub(last); gap < each {
				t.Errorf("a slot comes %v after the last one", gap)
			}
			last = slot
		}
		if slot, _ := of.Slot(tally.Waiter{Class: budget.Urgent, Alone: true}, now); slot.After(now.Add(each + 10*time.Second)) {
			t.Errorf("a caller is told %v", slot.Sub(now))
		}
		if slot, _ := of.Slot(tally.Waiter{Class: budget.New, Waited: true}, now); slot.After(now.Add(33 * each)) {
			t.Errorf("one that came in vain is told %v", slot.Sub(now))
		}
		// A newcomer does not take the token of the line's head.
		time.Sleep(31*each + 10*time.Second)
		head, newcomer := of.Next(tally.Waiter{Class: budget.New, Waited: true}, time.Now()), of.Next(tally.Waiter{Class: budget.New}, time.Now())
		if head.After(time.Now()) || !newcomer.After(time.Now()) {
			t.Errorf("with one token, the line's head is told %v and a newcomer %v", head, newcomer)
		}
	})
}
