package etcd

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/everseal/everseal/storage"
)

var (
	errLate     = errors.New("the caller has not taken the hints for too long")
	errRestored = errors.New("the cluster has gone back to an earlier state, as when it is restored from a snapshot")
)

const (
	maxHints = 10_000           // keys that wait for the caller
	silence  = 30 * time.Second // after which the cluster is asked whether it is still the same
)

// Watch yields the keys at or below the prefix that are changed; see [storage.Watcher]. When its connection breaks, it makes
// another, by itself, and etcd tells what was changed meanwhile: nothing is lost. It ends with an error when it may have lost
// something: etcd has compacted what it had to tell, the member has no leader, the cluster was restored, or the caller
// has left too many hints waiting.
//
// etcd sends the values, too: each watch costs as much traffic as what is written at and below the prefix.
func (s *Store) Watch(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := storage.AdmitPrefix(ctx, prefix); err != nil {
			yield("", err)
			return
		}
		if err := s.watch(ctx, prefix, yield); err != nil {
			yield("", s.failure(ctx, "watch", prefix, err))
		}
	}
}

// watch returns nil if the caller wants no more.
func (s *Store) watch(ctx context.Context, prefix string, yield func(string, error) bool) error {
	c, err := s.connect(ctx)
	if err != nil {
		return err
	}
	h, stop := s.listen(ctx, c, prefix)
	defer stop()
	select {
	case <-h.started:
	case <-h.ended:
		return h.err
	}
	if !yield("", nil) {
		return nil
	}
	for {
		select {
		case <-h.more:
		case <-h.ended:
			return h.err
		}
		for key := range h.take() {
			if !yield(key, nil) {
				return nil
			}
		}
	}
}

// listen begins to collect hints, until it is stopped.
func (s *Store) listen(ctx context.Context, c *connection, prefix string) (h *hints, stop func()) {
	listening, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	h = &hints{
		store: s, connection: c, prefix: prefix,
		started: make(chan struct{}), more: make(chan struct{}, 1), ended: make(chan struct{}), keys: make(map[string]bool),
	}
	go func() {
		defer close(h.ended)
		h.err = h.collect(listening)
	}()
	return h, func() {
		cancel()
		<-h.ended
	}
}

// Hints are the keys that wait for the caller of a Watch. They are collected at all times: the client would keep all
// values for a caller that takes its time.
type hints struct {
	store      *Store
	connection *connection
	prefix     string
	started    chan struct{} // closed when the cluster has said that it listens
	more       chan struct{} // full while there are keys
	ended      chan struct{} // closed when collect has returned
	err        error         // why, once ended is closed

	listening bool  // whether started is closed; collect's own
	revision  int64 // the latest that etcd has told of; collect's own

	mu   sync.Mutex
	keys map[string]bool // guarded by mu
}

// collect receives events until hints are lost or the context ends.
func (h *hints) collect(ctx context.Context) error {
	from, to := h.store.span(h.prefix)
	events := h.connection.watcher.Watch(ctx, from, clientv3.WithRange(to), clientv3.WithCreatedNotify(), clientv3.WithFragment())
	silent := time.NewTicker(silence)
	defer silent.Stop()
	for {
		select {
		case response, ok := <-events:
			if !ok {
				return h.why(ctx)
			}
			if err := h.note(response); err != nil {
				return err
			}
		case <-silent.C:
			if err := h.probe(ctx); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// why returns why there are no more events.
func (h *hints) why(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return errClosed
}

// note adds the keys of an answer.
func (h *hints) note(response clientv3.WatchResponse) error {
	if err := response.Err(); err != nil {
		return err
	}
	if err := h.connection.same(response.Header); err != nil {
		return err
	}
	h.revision = max(h.revision, response.Header.Revision)
	if response.Created && !h.listening {
		close(h.started)
		h.listening = true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, event := range response.Events {
		if key := h.store.keyOf(event.Kv.Key); storage.Within(key, h.prefix) && storage.CheckKey(key) == nil {
			h.keys[key] = true
		}
	}
	if len(h.keys) > maxHints {
		return errLate
	}
	if len(h.keys) > 0 {
		select {
		case h.more <- struct{}{}:
		default: // it is full already
		}
	}
	return nil
}

// probe asks the cluster where it is. One that was restored has an earlier revision than the watch has seen, and would tell of
// nothing until it has come to that again.
func (h *hints) probe(ctx context.Context) error {
	response, err := h.connection.get(ctx, h.store.versionKey(), clientv3.WithKeysOnly())
	switch {
	case err != nil:
		return err
	case len(response.Kvs) == 0 || response.Header.Revision < h.revision:
		return errRestored
	}
	h.revision = response.Header.Revision
	return nil
}

func (h *hints) take() map[string]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	keys := h.keys
	h.keys = make(map[string]bool)
	return keys
}
