package storagetest

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/everseal/everseal/storage"
)

// An openWatch is one call of Watch under way.
type openWatch struct{ cancel context.CancelCauseFunc }

// errCut ends the context of a watch that is cut.
var errCut = fmt.Errorf("%w: the watch was cut", ErrFault)

// Watch yields the store's hints, until CutWatches, or fails before the first. It fails with [errors.ErrUnsupported]
// if the store is no [storage.Watcher].
func (f *Faulty) Watch(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return iterate(ctx, f, call{Watch, prefix}, func(context.Context) iter.Seq2[string, error] { // once it was stuck, it ends as it should
		return func(yield func(string, error) bool) {
			watcher, ok := storage.As[storage.Watcher](f.Unwrap())
			if !ok {
				yield("", fmt.Errorf("storagetest: the store below is no storage.Watcher: %w", errors.ErrUnsupported))
				return
			}
			ctx, w := f.addWatch(ctx)
			defer f.removeWatch(w)
			for key, err := range watcher.Watch(ctx, prefix) {
				if err != nil && errors.Is(context.Cause(ctx), errCut) {
					err = errCut
				}
				if !yield(key, err) {
					return
				}
			}
		}
	})
}

func (f *Faulty) addWatch(ctx context.Context) (context.Context, *openWatch) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &openWatch{cancel}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.watches == nil {
		f.watches = make(map[*openWatch]bool)
	}
	f.watches[w] = true
	return ctx, w
}

func (f *Faulty) removeWatch(w *openWatch) {
	w.cancel(nil)
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.watches, w)
}
