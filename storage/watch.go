package storage

import (
	"context"
	"iter"
)

// A Watcher is a [Store] that tells what others change.
type Watcher interface {
	// Watch yields the keys at or below the prefix, as List takes it, that may have been saved or deleted, also by
	// this process. The first that it yields is "", which says that it listens: what is changed after that is
	// told. Keys may come more than once, late, and though nothing has changed: a hint is never the truth, which
	// Load has.
	//
	// Watch continues until ctx ends or hints were lost: then it yields an error, with an empty key, and ends. Who
	// watches again has to read everything once more after its first "". The caller may use the store's other
	// methods between two keys; hints wait meanwhile, within bounds.
	Watch(ctx context.Context, prefix string) iter.Seq2[string, error]
}
