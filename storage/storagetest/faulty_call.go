package storagetest

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"time"

	"github.com/everseal/everseal/storage"
)

// A call is one of a Faulty's method.
type call struct {
	method Methods
	key    string // or the prefix
}

// meet lets the call meet the faults that are set. It returns the context that it continues with and the fault that
// the method has to see to, or an error if the call ends here.
func (f *Faulty) meet(ctx context.Context, c call) (context.Context, *Fault, error) {
	f.mu.Lock()
	if f.calls == nil {
		f.calls = make(map[Methods]int)
	}
	f.calls[c.method]++
	faults := f.faults
	f.mu.Unlock()
	for _, fault := range faults {
		if !f.strikes(fault, c) {
			continue
		}
		if fault.Hit != nil {
			fault.Hit(c.key)
		}
		switch fault.Kind {
		case Fail:
			return ctx, nil, fault.err()
		case Hang:
			<-ctx.Done()
			return ctx, nil, ctx.Err()
		case Slow:
			if !wait(ctx.Done(), fault.Delay) {
				return ctx, nil, ctx.Err()
			}
		case Stuck:
			f.mu.Lock()
			released := f.untilReleased()
			f.mu.Unlock()
			waitReleased(released, fault.Delay)
			ctx = context.WithoutCancel(ctx)
		default:
			return ctx, &fault.Fault, nil
		}
	}
	return ctx, nil, nil
}

// strikes counts the call and reports whether the fault makes it go wrong.
func (f *Faulty) strikes(fault *activeFault, c call) bool {
	if !fault.concerns(c.method, c.key) {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	number := fault.concerned
	fault.concerned++
	if !fault.chosen(f.Seed, number) {
		return false
	}
	f.hits++
	return true
}

// wait waits for d and reports whether that was to the end: false if done was closed before.
func wait(done <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-done:
		return false
	}
}

// untilReleased returns a channel that Release closes. It is called with mu held.
func (f *Faulty) untilReleased() <-chan struct{} {
	if f.released == nil {
		f.released = make(chan struct{})
	}
	return f.released
}

// waitReleased waits for Release, and for d at most if it is not zero.
func waitReleased(released <-chan struct{}, d time.Duration) {
	if d > 0 {
		wait(released, d)
		return
	}
	<-released
}

// write makes a write that do does, with what goes wrong with it.
func (f *Faulty) write(ctx context.Context, c call, do func(context.Context) error) error {
	ctx, fault, err := f.meet(ctx, c)
	if err != nil {
		return err
	}
	done := func(ctx context.Context) error {
		before, keep := f.before(ctx, c.key)
		err := do(ctx)
		if err == nil && keep {
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.stale != nil {
				f.stale[c.key] = before
			}
		}
		return err
	}
	if fault == nil {
		return done(ctx)
	}
	switch fault.Kind {
	case Lost:
		_ = done(ctx) // nobody learns how it went
	case Twice:
		_ = done(ctx)
		return done(ctx)
	case Late:
		f.doLate(fault.Delay, func() { _ = done(context.WithoutCancel(ctx)) })
	}
	return fault.err()
}

// doLate does a write after the delay, or at Release.
func (f *Faulty) doLate(delay time.Duration, write func()) {
	done := make(chan struct{})
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.late == nil {
		f.late = make(map[chan struct{}]bool)
	}
	f.late[done] = true
	released := f.untilReleased()
	go func() {
		defer close(done)
		waitReleased(released, delay)
		write()
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.late, done)
	}()
}

// before returns what is stored under the key before a write, if that is to be kept for stale loads.
func (f *Faulty) before(ctx context.Context, key string) (item storage.Item, keep bool) {
	f.mu.Lock()
	keep = f.stale != nil
	f.mu.Unlock()
	if !keep {
		return storage.Item{}, false
	}
	item, err := f.Unwrap().Load(ctx, key)
	return item, err == nil || errors.Is(err, fs.ErrNotExist)
}

// iterate yields what a method of the store does, with what goes wrong with it.
func iterate[T any](ctx context.Context, f *Faulty, c call, sequence func(context.Context) iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		ctx, fault, err := f.meet(ctx, c)
		if err == nil && fault != nil {
			err = fault.err() // of what is lost nothing is seen
		}
		if err != nil {
			var none T
			yield(none, err)
			return
		}
		sequence(ctx)(yield)
	}
}
