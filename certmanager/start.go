package certmanager

import (
	"context"
	"slices"
	"sync"

	"github.com/everseal/everseal/storage"
)

// minScanned is how many entries there are at least whose certificates are read in one go rather than one by one, if the storage can.
const minScanned = 1000

// A filling fills the memory with what the storage has.
type filling struct{ loader }

// start has all entries loaded, but those that Load has just loaded, and then obtained or renewed as they are due: in an order
// of this member's own. Those of a fleet that start together do not all come to the same certificate together.
func (f filling) start(ctx context.Context) {
	entries := slices.Collect(f.catalogue.all())
	unloaded := slices.DeleteFunc(slices.Clone(entries), func(e *entry) bool { return !awaitsStart(e) })
	f.loading.count(len(unloaded))
	var watch sync.WaitGroup
	defer watch.Wait()
	watch.Go(func() { f.loading.watch(ctx, f.logger) })
	if f.scans(unloaded) {
		f.scan(ctx, unloaded)
	}
	f.update(entries...)
}

// awaitsStart notes that the entry is to be loaded, unless it is, and reports that.
func awaitsStart(e *entry) bool {
	e.progress.mu.Lock()
	defer e.progress.mu.Unlock()
	waits := !e.progress.state.Loaded()
	e.roles.put(starting, waits)
	return waits
}

// scans reports whether the entries are so many that they are read in one go, which the storage has to be able to.
func (f filling) scans(entries []*entry) bool {
	_, can := storage.As[storage.Scanner](f.store)
	return can && len(entries) >= minScanned
}

func unloadedOf(entries []*entry) []*entry {
	return slices.DeleteFunc(slices.Clone(entries), func(e *entry) bool { return e.progress.isLoaded() })
}
