package redis

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/everseal/everseal/storage"
)

// A Config is what need not be said. Its zero value is the right one for most.
type Config struct {
	// Prefix is what all keys of the store begin with, in braces; "everseal" if it is empty. It has lower-case letters, digits
	// and the bytes "-._", at most 64. Stores with different prefixes know nothing of each other.
	Prefix string

	// Replicas is how many replicas must have each change before it counts as done, by WAIT: 0 for none. It makes it unlikely
	// that a failover loses a change, not impossible. A change that too few replicas have is an error, though it is stored.
	Replicas int
}

// A Store is a [storage.Store], a [storage.Scanner] and a [storage.Watcher] on Redis or Valkey. [Open] and [New] make one. Its
// methods are safe for concurrent use, and obey their context.
//
// An error that is none of those that storage.Store names says where it failed, and with which key, and wraps the
// driver's. It never has a password or a value in it.
type Store struct {
	backend
	names
	scripts
	replicas int
	owned    bool                   // the client is, by this store
	mark     atomic.Pointer[string] // what the store was found to be; nil until it was checked
	turn     chan struct{}          // full while somebody checks
	ended    chan struct{}          // closed by Close
	answers  atomic.Bool            // the server has answered what it was asked last

	mu     sync.Mutex
	closed bool           // guarded by mu
	calls  sync.WaitGroup // that are under way; begun under mu, while it is not closed
}

var (
	errNoClient = errors.New("storage/redis: the client is nil: give one that is open")
	errKind     = errors.New("storage/redis: the client is neither a *redis.Client nor a *redis.ClusterClient: a Ring, for one, may lead one key to " +
		"several servers")
	errReads  = errors.New("storage/redis: the client reads from replicas, which lag behind: set neither ReadOnly nor RouteByLatency nor RouteRandomly")
	errPrefix = errors.New("storage/redis: the prefix can't be: it has lower-case letters, digits and -._ and at most 64 of them")
	errCount  = errors.New("storage/redis: the number of replicas can't be: it is 0 or more")
)

// New returns a store by the driver's own client: a *redis.Client, with or without sentinels, or a *redis.ClusterClient.
// It asks nothing of the server yet. The client remains its owner's to close, after the store.
//
// Set ContextTimeoutEnabled in the client's options: then its connections are free again as soon as a caller's deadline is over.
func New(client redis.UniversalClient, c Config) (*Store, error) {
	switch client := client.(type) {
	case nil:
		return nil, errNoClient
	case *redis.Client:
		if client == nil {
			return nil, errNoClient
		}
	case *redis.ClusterClient:
		if client == nil {
			return nil, errNoClient
		}
		if o := client.Options(); o.ReadOnly || o.RouteByLatency || o.RouteRandomly {
			return nil, errReads
		}
	default:
		return nil, errKind
	}
	prefix := c.Prefix
	if prefix == "" {
		prefix = "everseal"
	}
	if !isPrefix(prefix) {
		return nil, fmt.Errorf("%w: %.80q", errPrefix, prefix)
	}
	if c.Replicas < 0 {
		return nil, errCount
	}
	return &Store{
		backend:  backendOf(client),
		names:    namesOf(prefix),
		scripts:  newScripts(),
		replicas: c.Replicas,
		turn:     make(chan struct{}, 1),
		ended:    make(chan struct{}),
	}, nil
}

// Close ends watches, and the connections of a store that [Open] has made, and waits for the calls that were broken off. A
// client that was given is its owner's to close.
func (s *Store) Close() error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	s.mu.Unlock()
	var err error
	if first {
		close(s.ended)
		if s.owned {
			err = s.client.Close()
		}
	}
	s.calls.Wait()
	if err != nil {
		return fmt.Errorf("storage/redis: closing: %w", causeOf(err))
	}
	return nil
}

// Load returns what is stored under key; see [storage.Store]. It asks the master, each time.
func (s *Store) Load(ctx context.Context, key string) (storage.Item, error) {
	if err := storage.Admit(ctx, key, nil); err != nil {
		return storage.Item{}, err
	}
	item, found, err := s.load(ctx, key)
	if err != nil {
		return storage.Item{}, s.failure(ctx, "load", key, err)
	}
	if !found {
		return storage.Item{}, storage.NotExist(key)
	}
	return item, nil
}

func (s *Store) load(ctx context.Context, key string) (item storage.Item, found bool, err error) {
	if err := s.check(ctx); err != nil {
		return storage.Item{}, false, err
	}
	text, found, err := s.read(ctx, s.record(key))
	if err == nil && !found {
		err = s.checkMark(ctx) // is it only this record that is missing?
	}
	if err != nil || !found {
		return storage.Item{}, false, err
	}
	item, err = parse(text)
	return item, true, err
}

// Save stores value under key if the stored revision is old; see [storage.Store].
func (s *Store) Save(ctx context.Context, key string, value []byte, old storage.Revision) (storage.Revision, error) {
	if err := storage.Admit(ctx, key, value); err != nil {
		return "", err
	}
	if old != "" && !isRevision(string(old)) {
		return "", storage.Conflict(key) // as it never was one
	}
	revision := rand.Text()
	err := s.save(ctx, key, format(revision, value), string(old))
	if errors.Is(err, errUnknown) && ctx.Err() == nil {
		// The server may have done it all the same.
		if item, found, loadErr := s.load(ctx, key); loadErr == nil && found && string(item.Revision) == revision {
			return item.Revision, nil
		}
	}
	if err != nil {
		return "", s.outcome(ctx, "save", key, err)
	}
	return storage.Revision(revision), nil
}

func (s *Store) save(ctx context.Context, key string, record []byte, old string) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	if old == "" {
		return s.change(ctx, s.create, []string{s.record(key), s.index, s.markKey},
			record, *s.mark.Load(), key, s.publish(), s.everything, s.channel(key))
	}
	return s.change(ctx, s.update, []string{s.record(key)}, record, old, key, s.publish(), s.everything, s.channel(key))
}

// Delete removes key if the stored revision is old; see [storage.Store].
func (s *Store) Delete(ctx context.Context, key string, old storage.Revision) error {
	if err := storage.Admit(ctx, key, nil); err != nil {
		return err
	}
	if !isRevision(string(old)) {
		return storage.Conflict(key)
	}
	err := s.check(ctx)
	if err == nil {
		err = s.change(ctx, s.remove, []string{s.record(key), s.index}, string(old), key, s.publish(), s.everything, s.channel(key))
	}
	if err != nil {
		return s.outcome(ctx, "delete", key, err)
	}
	return nil
}

// outcome returns the error of a change of a key.
func (s *Store) outcome(ctx context.Context, operation, key string, err error) error {
	if errors.Is(err, errAbsent) {
		if err = s.checkMark(ctx); err == nil {
			err = errConflict
		}
	}
	if errors.Is(err, errConflict) {
		return storage.Conflict(key)
	}
	return s.failure(ctx, operation, key, err)
}

// call runs f. The driver keeps to a context's deadline, but hears of a cancellation only when it has an answer, or when its own
// time is over. So as long as the server does not answer, f runs beside the caller, who need not wait for it; Close does.
// While it answers, that would double the time of a call.
func (s *Store) call(ctx context.Context, f func() error) error {
	noted := func() error {
		err := f()
		s.answers.Store(err == nil || isReply(err))
		if s.cluster != nil && isUnreachable(err) {
			s.cluster.ReloadState(ctx) // the driver would call the same node for a minute, though another has taken its place
		}
		return err
	}
	if s.answers.Load() {
		if err := s.enter(); err != nil {
			return err
		}
		defer s.calls.Done()
		return noted()
	}
	done := make(chan error, 1)
	if err := s.start(func() { done <- noted() }); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// enter begins what Close waits for.
func (s *Store) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	s.calls.Add(1)
	return nil
}

// start runs f in a goroutine that Close waits for.
func (s *Store) start(f func()) error {
	if err := s.enter(); err != nil {
		return err
	}
	go func() {
		defer s.calls.Done()
		f()
	}()
	return nil
}

func isPrefix(prefix string) bool {
	const maxLength = 64
	return len(prefix) <= maxLength && strings.Trim(prefix, "abcdefghijklmnopqrstuvwxyz0123456789-._") == ""
}
