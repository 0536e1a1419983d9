package storagetest

import (
	"context"
	"sync"

	"github.com/everseal/everseal/storage"
)

// A gate is a handle on a store whose calls can be held up and then continue regardless of their context, as
// those of a process that is suspended and resumed. What it does not show of the store (that it knows dead
// owners of leases, say) is unknown through it.
type gate struct {
	storage.Store

	mu   sync.Mutex
	shut chan struct{} // guarded by mu; nil while open, closed when it opens again
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = make(chan struct{})
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.shut)
	g.shut = nil
}

func (g *gate) pass(ctx context.Context) context.Context {
	g.mu.Lock()
	shut := g.shut
	g.mu.Unlock()
	if shut == nil {
		return ctx
	}
	<-shut
	return context.WithoutCancel(ctx)
}

func (g *gate) Load(ctx context.Context, key string) (storage.Item, error) {
	return g.Store.Load(g.pass(ctx), key)
}

func (g *gate) Save(ctx context.Context, key string, value []byte, old storage.Revision) (storage.Revision, error) {
	return g.Store.Save(g.pass(ctx), key, value, old)
}
