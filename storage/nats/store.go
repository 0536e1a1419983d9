package nats

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/everseal/everseal/storage"
)

// A Config is what need not be said. Its zero value is the right one for most.
type Config struct {
	// Bucket is the name of the key-value bucket, "everseal" if it is empty. It has letters, digits, "-" and "_", at most
	// 64. It is made if it is missing. [Open] takes it from the path of the URL if it is empty here.
	Bucket string

	// Replicas is how many servers keep a bucket that the store makes, from 1 to 5: if it is zero, three of a cluster, or the one
	// server that there is. A bucket that there is already keeps its own. [Open] takes it from the parameter replicas
	// if it is zero here.
	Replicas int
}

// A Store is a [storage.Store], a [storage.Scanner] and a [storage.Watcher] in a key-value bucket of NATS JetStream. [Open] and
// [New] make one. Its methods are safe for concurrent use, and obey their context.
//
// An error that is none of those that storage.Store names says which bucket failed, and with which key, and wraps the
// client's. It never has a password in it.
type Store struct {
	bucket   string
	replicas int
	place    string // servers and bucket, for errors

	markerAge time.Duration // for which a marker is left to tell watchers that lag

	dial  func(ctx context.Context) (jetstream.JetStream, error) // nil if the client was given
	given jetstream.JetStream

	last  atomic.Pointer[connection] // nil until there is one
	ready atomic.Pointer[connection] // nil until the bucket was found to be right
	turn  chan struct{}              // full while somebody connects or closes

	connection *connection // guarded by turn
	closed     bool        // guarded by turn
}

var (
	errNoClient = errors.New("storage/nats: the client is nil: give one that jetstream.New has returned")
	errBucket   = errors.New("storage/nats: the bucket can't be: it has up to 64 letters, digits, - and _")
	errReplicas = errors.New("storage/nats: the number of replicas can't be: it is from 1 to 5, or 0 for as many as there should be")
	errClosed   = errors.New("the store was closed")
)

const (
	defaultBucket = "everseal"
	maxBucket     = 64
	maxReplicas   = 5
)

// New returns a store by a client of JetStream. It asks nothing of the servers yet. The connection is its owner's to close, after
// the store.
func New(client jetstream.JetStream, c Config) (*Store, error) {
	if client == nil || client.Conn() == nil {
		return nil, errNoClient
	}
	s, err := newStore(client.Conn().Servers(), c)
	if err == nil {
		s.given = client
	}
	return s, err
}

func newStore(servers []string, c Config) (*Store, error) {
	bucket := c.Bucket
	if bucket == "" {
		bucket = defaultBucket
	}
	switch {
	case !isBucket(bucket):
		return nil, errBucket
	case c.Replicas < 0 || c.Replicas > maxReplicas:
		return nil, errReplicas
	}
	return &Store{
		bucket: bucket, replicas: c.Replicas, markerAge: markerAge, turn: make(chan struct{}, 1),
		place: fmt.Sprintf("NATS at %s, bucket %s", hostsOf(servers), bucket),
	}, nil
}

func isBucket(name string) bool {
	for i := range len(name) {
		if c := name[i]; !isPlain(c) && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return len(name) <= maxBucket
}

// The bucket's stream, and what its subjects begin with.
func (s *Store) streamName() string { return "KV_" + s.bucket }
func (s *Store) subjects() string   { return "$KV." + s.bucket + "." }

func (s *Store) recordSubject(key string) string { return s.subjects() + subjectOf(key) }

// Load returns what is stored under key; see [storage.Store]. The stream's leader answers.
func (s *Store) Load(ctx context.Context, key string) (storage.Item, error) {
	if err := storage.Admit(ctx, key, nil); err != nil {
		return storage.Item{}, err
	}
	c, err := s.connect(ctx)
	if err != nil {
		return storage.Item{}, s.failure(ctx, "load", key, err)
	}
	f, err := c.read(ctx, s.recordSubject(key))
	if err != nil {
		return storage.Item{}, s.failure(ctx, "load", key, err)
	}
	if !f.exists() {
		return storage.Item{}, storage.NotExist(key)
	}
	return storage.Item{Value: f.value, Revision: f.revision()}, nil
}

// Save stores value under key if the stored revision is old; see [storage.Store].
func (s *Store) Save(ctx context.Context, key string, value []byte, old storage.Revision) (storage.Revision, error) {
	if err := storage.Admit(ctx, key, value); err != nil {
		return "", err
	}
	var before version
	if old != "" {
		var ok bool
		if before, ok = versionOf(old); !ok {
			return "", storage.Conflict(key) // as it never was one
		}
	}
	stored, err := s.change(ctx, newChange(s.recordSubject(key), value, before, false))
	if err != nil {
		return "", s.outcome(ctx, "save", key, err)
	}
	return stored.revision(), nil
}

// Delete removes key if the stored revision is old; see [storage.Store]. It leaves a marker, which the server is asked to
// remove when a List or Scan comes across it an hour later.
func (s *Store) Delete(ctx context.Context, key string, old storage.Revision) error {
	if err := storage.Admit(ctx, key, nil); err != nil {
		return err
	}
	before, ok := versionOf(old)
	if !ok {
		return storage.Conflict(key)
	}
	if _, err := s.change(ctx, newChange(s.recordSubject(key), nil, before, true)); err != nil {
		return s.outcome(ctx, "delete", key, err)
	}
	return nil
}

// outcome returns the error of a change of a key.
func (s *Store) outcome(ctx context.Context, operation, key string, err error) error {
	if errors.Is(err, errConflict) {
		return storage.Conflict(key)
	}
	return s.failure(ctx, operation, key, err)
}

// Close ends the store's watches, and the connection if [Open] has made it. A client that was given is its owner's to close.
func (s *Store) Close() error {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	if s.closed {
		return nil
	}
	s.closed = true
	s.ready.Store(nil)
	if s.connection != nil {
		s.connection.close(s.given == nil)
	}
	return nil
}
