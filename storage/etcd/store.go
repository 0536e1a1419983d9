package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/everseal/everseal/storage"
)

// A Config is what need not be said. Its zero value is the right one for most.
type Config struct {
	// Prefix is what all keys in etcd begin with, "everseal/" if it is empty. A "/" is added if it does not end in one. It has
	// up to 256 printable ASCII characters. [Open] takes it from the path of the URL if it is empty here.
	Prefix string

	// SessionTTL is for how long a process that died, or that etcd has not heard of, is still taken for alive, 20
	// seconds if it is zero; from 2 seconds to 10 minutes, in full seconds. See the section on owners in the
	// package's documentation. [Open] takes it from the parameter session if it is zero here.
	SessionTTL time.Duration
}

// A Store is a [storage.Store], a [storage.Scanner], a [storage.Watcher] and [storage.Owners] in an etcd cluster. [Open] and
// [New] make one. Its methods are safe for concurrent use, and obey their context.
//
// An error that is none of those that storage.Store names says which cluster failed, and with which key, and wraps
// the client's. It never has a password in it.
type Store struct {
	prefix string
	ttl    time.Duration
	place  string // endpoints and prefix, for errors

	dial  func(ctx context.Context) (*clientv3.Client, error) // nil if the client was given
	given *clientv3.Client

	ready atomic.Pointer[connection] // nil until the prefix was found to be right
	turn  chan struct{}              // full while somebody connects, closes, or begins a session

	connection *connection // guarded by turn
	closed     bool        // guarded by turn
	sessions   sessions
}

var (
	errNoClient = errors.New("storage/etcd: the client is nil: give one that is open")
	errPrefix   = errors.New("storage/etcd: the prefix can't be: it has up to 256 printable ASCII characters")
	errTTL      = errors.New("storage/etcd: the session's TTL can't be: it is from 2s to 10m, in full seconds")
	errClosed   = errors.New("the store was closed")
)

const (
	defaultPrefix = "everseal/"
	maxPrefix     = 256
	defaultTTL    = 20 * time.Second
	minTTL        = 2 * time.Second
	maxTTL        = 10 * time.Minute
)

// New returns a store on a client, which is its owner's to close, after the store. It asks nothing of the cluster yet.
//
// The store uses the client's connections, user and TLS, and no wrapper around its parts: the prefix that package namespace
// would add is given as Config.Prefix instead.
func New(client *clientv3.Client, c Config) (*Store, error) {
	if client == nil {
		return nil, errNoClient
	}
	s, err := newStore(client.Endpoints(), c)
	if err == nil {
		s.given = client
	}
	return s, err
}

func newStore(endpoints []string, c Config) (*Store, error) {
	prefix, ttl := c.Prefix, c.SessionTTL
	if prefix == "" {
		prefix = defaultPrefix
	}
	if !strings.HasSuffix(prefix, "/") {
		prefix += "/"
	}
	if ttl == 0 {
		ttl = defaultTTL
	}
	switch {
	case !isPrefix(prefix):
		return nil, errPrefix
	case ttl < minTTL || ttl > maxTTL || ttl%time.Second != 0:
		return nil, errTTL
	}
	return &Store{
		prefix: prefix, ttl: ttl, turn: make(chan struct{}, 1),
		place: fmt.Sprintf("etcd at %s, prefix %s", hostsOf(endpoints), prefix),
	}, nil
}

func isPrefix(prefix string) bool {
	for i := range len(prefix) {
		if prefix[i] <= ' ' || prefix[i] > '~' {
			return false
		}
	}
	return len(prefix) <= maxPrefix
}

// The keys in etcd, below the prefix: one that says which version the layout is of, one for each session, and one for
// each record.
func (s *Store) versionKey() string          { return s.prefix + "version" }
func (s *Store) sessionKey(id string) string { return s.prefix + "sessions/" + id }
func (s *Store) recordKey(key string) string { return s.prefix + "records/" + key }
func (s *Store) keyOf(found []byte) string   { return strings.TrimPrefix(string(found), s.recordKey("")) }

// Load returns what is stored under key; see [storage.Store]. It is a linearizable read.
func (s *Store) Load(ctx context.Context, key string) (storage.Item, error) {
	if err := storage.Admit(ctx, key, nil); err != nil {
		return storage.Item{}, err
	}
	c, err := s.connect(ctx)
	if err != nil {
		return storage.Item{}, s.failure(ctx, "load", key, err)
	}
	response, err := c.get(ctx, s.recordKey(key))
	if err != nil {
		return storage.Item{}, s.failure(ctx, "load", key, err)
	}
	if len(response.Kvs) == 0 {
		return storage.Item{}, storage.NotExist(key)
	}
	value, nonce := decode(response.Kvs[0].Value)
	return storage.Item{Value: value, Revision: version{response.Kvs[0].ModRevision, nonce}.revision()}, nil
}

// Save stores value under key if the stored revision is old; see [storage.Store]. It is one transaction.
func (s *Store) Save(ctx context.Context, key string, value []byte, old storage.Revision) (storage.Revision, error) {
	if err := storage.Admit(ctx, key, value); err != nil {
		return "", err
	}
	name := s.recordKey(key)
	conditions := absent(name)
	if old != "" {
		v, ok := versionOf(old)
		if !ok {
			return "", storage.Conflict(key) // as it never was one
		}
		conditions = v.conditions(name)
	}
	c, err := s.connect(ctx)
	if err != nil {
		return "", s.failure(ctx, "save", key, err)
	}
	stored, nonce := encode(value)
	// A proxy can have run the transaction before, for want of an answer: then what is stored is its own, which is no conflict.
	mine := clientv3.OpTxn(hasNonce(name, nonce), []clientv3.Op{clientv3.OpGet(name, clientv3.WithKeysOnly())}, nil)
	response, err := c.swap(ctx, conditions, clientv3.OpPut(name, stored), mine)
	switch {
	case err != nil:
		return "", s.failure(ctx, "save", key, err)
	case response.Succeeded:
		return version{response.Header.Revision, nonce}.revision(), nil
	}
	before := response.Responses[0].GetResponseTxn()
	if !before.Succeeded {
		return "", storage.Conflict(key)
	}
	return version{before.Responses[0].GetResponseRange().Kvs[0].ModRevision, nonce}.revision(), nil
}

// Delete removes key if the stored revision is old; see [storage.Store].
func (s *Store) Delete(ctx context.Context, key string, old storage.Revision) error {
	if err := storage.Admit(ctx, key, nil); err != nil {
		return err
	}
	v, ok := versionOf(old)
	if !ok {
		return storage.Conflict(key)
	}
	c, err := s.connect(ctx)
	if err != nil {
		return s.failure(ctx, "delete", key, err)
	}
	name := s.recordKey(key)
	response, err := c.swap(ctx, v.conditions(name), clientv3.OpDelete(name))
	if err != nil {
		return s.failure(ctx, "delete", key, err)
	}
	if !response.Succeeded {
		return storage.Conflict(key)
	}
	return nil
}

// Close ends the session of the store's owners, who are known to be dead then, its watches, and the connections if [Open]
// has made them. A client that was given is its owner's to close.
func (s *Store) Close() error {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	if s.closed {
		return nil
	}
	s.closed = true
	s.ready.Store(nil)
	if s.connection == nil {
		return nil
	}
	s.sessions.end(s.connection)
	if err := s.connection.close(s.given == nil); err != nil {
		return fmt.Errorf("storage/etcd: closing %s: %w", s.place, cause{err})
	}
	return nil
}
