package certmanager

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/everseal/everseal/storage"
)

// An opaqueContext is one that package context does not know as its own: for each context derived from it that has not
// ended there is a goroutine.
type opaqueContext struct {
	context.Context
	done chan struct{}
}

func (c opaqueContext) Done() <-chan struct{} { return c.done }

// Of work that is over nothing is left with the context of Run, which goes on for years.
func TestWorkEndsItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := opaqueContext{context.Background(), make(chan struct{})}
		w, err := claimWork(ctx, new(storage.Memory), "work/example.com", new(claim))
		if err != nil {
			t.Fatal(err)
		}
		if err := w.release(ctx); err != nil {
			t.Fatal(err)
		}
		if w.context().Err() == nil {
			t.Error("the lease's context has not ended")
		}
	}) // fails if a goroutine remains
}
