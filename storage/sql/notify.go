package sql

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/everseal/everseal/storage"
)

// A Notifier is a [Store] on PostgreSQL that tells other processes of some changes, and so is a [storage.Watcher].
type Notifier struct{ *Store }

// Notify returns the store as one that tells of changes at and below the prefixes, by NOTIFY in the same statement.
// All processes that change such records must do so through a Notifier with these prefixes.
//
// PostgreSQL commits the transactions that notify one after the other. So name only what is rarely changed and eagerly
// awaited, such as "certificates"; never what has leases or budgets, which are written all the time. Only a store
// on PostgreSQL can do it; of others the error says so. Close either of both.
func (s *Store) Notify(prefixes ...string) (*Notifier, error) {
	p, ok := s.pool.(postgresPool)
	if !ok {
		return nil, fmt.Errorf("storage/sql: %s can't notify, only PostgreSQL can: poll with storage.Scan", s.name)
	}
	for _, prefix := range prefixes {
		if prefix == "" {
			continue // everything
		}
		if err := storage.CheckKey(prefix); err != nil {
			return nil, err
		}
	}
	notifying := *s
	notifying.notify = &notifications{pool: p, channel: s.table, prefixes: slices.Clone(prefixes)}
	return &Notifier{&notifying}, nil
}

// Notifications are what a Notifier tells, and where.
type notifications struct {
	pool     postgresPool
	channel  string
	prefixes []string
}

// covers reports whether changes of the key are told of, and so those of all keys below it.
func (n *notifications) covers(key string) bool {
	if n == nil {
		return false
	}
	return slices.ContainsFunc(n.prefixes, func(prefix string) bool { return storage.Within(key, prefix) })
}

// telling returns the statement as one that also tells, if it changes something.
func (n *notifications) telling(s *Store, statement string, args []any) (string, []any) {
	text := fmt.Sprintf("WITH changed AS (%s RETURNING record_key) SELECT pg_notify($%d, record_key) FROM changed", statement, len(args)+1)
	return text, append(args, n.channel)
}

var (
	errUncovered = errors.New("the Notifier does not tell of all changes there: watch one of the prefixes that were given to Notify, or poll with storage.Scan")
	errPooler    = errors.New("no notification comes through, as behind a pooler in transaction mode: give the server's own address, or do without Notify and poll")
	errLate      = errors.New("hints were lost, as the caller has not taken them for too long")
)

const (
	maxHints      = 10_000           // keys that wait for the caller
	silence       = 30 * time.Second // after which the connection is tried
	listenTimeout = 10 * time.Second // for an answer of the server
)

// Watch yields the keys at or below the prefix that are changed; see [storage.Watcher]. The prefix must be, or be below,
// one that was given to Notify. It has a connection of its own, which it tries each half minute. When that is
// broken, hints may have been lost: so Watch ends with an error, and who calls it again has a new connection and
// has to read everything once more, as the contract has it.
//
// Watch says that it listens when a notification of its own has come through.
func (n *Notifier) Watch(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := storage.AdmitPrefix(ctx, prefix); err != nil {
			yield("", err)
			return
		}
		if err := n.watch(ctx, prefix, yield); err != nil {
			yield("", n.failure(ctx, "watch", prefix, err))
		}
	}
}

// watch returns nil if the caller wants no more.
func (n *Notifier) watch(ctx context.Context, prefix string, yield func(string, error) bool) error {
	if !n.notify.covers(prefix) {
		return errUncovered
	}
	if err := n.check(ctx); err != nil {
		return err
	}
	conn, err := n.notify.listen(ctx)
	if err != nil {
		return err
	}
	listening, stop := context.WithCancel(ctx)
	h := &hints{prefix: prefix, keys: make(map[string]bool), more: make(chan struct{}, 1), ended: make(chan struct{})}
	go func() {
		defer close(h.ended)
		defer hangUp(ctx, conn)
		h.err = h.collect(listening, conn)
	}()
	defer func() {
		stop()
		<-h.ended
	}()
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

// listen returns a connection that has been seen to receive notifications.
func (n *notifications) listen(ctx context.Context) (*pgx.Conn, error) {
	pooled := n.pool.Config()
	config := pooled.ConnConfig
	if pooled.BeforeConnect != nil { // it may have the password
		if err := pooled.BeforeConnect(ctx, config); err != nil {
			return nil, err
		}
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, withoutConfig(err)
	}
	if err := n.tryOut(ctx, conn); err != nil {
		hangUp(ctx, conn)
		return nil, err
	}
	return conn, nil
}

// tryOut listens and sends a notification by another connection: a pooler would let only the sender's have it.
func (n *notifications) tryOut(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeoutCause(ctx, listenTimeout, errPooler)
	defer cancel()
	if _, err := conn.PgConn().Exec(ctx, "LISTEN "+pgx.Identifier{n.channel}.Sanitize()).ReadAll(); err != nil {
		return err
	}
	greeting := "?" + rand.Text() // no key
	if _, err := n.pool.exec(ctx, "SELECT pg_notify($1, $2)", n.channel, greeting); err != nil {
		return err
	}
	for {
		notification, err := conn.WaitForNotification(ctx)
		if err != nil {
			if context.Cause(ctx) == errPooler {
				return errPooler
			}
			return err
		}
		if notification.Payload == greeting {
			return nil
		}
	}
}

// hangUp closes the connection, also when the context has ended. What can't be closed is dropped.
func hangUp(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}

// Hints are the keys that wait for the caller of a Watch. They are collected at all times: a listener that does not
// read makes the server keep what all others notify of.
type hints struct {
	prefix string
	more   chan struct{} // full while there are keys
	ended  chan struct{} // closed when collect has returned
	err    error         // why, once ended is closed

	mu   sync.Mutex
	keys map[string]bool // guarded by mu
}

// collect receives notifications until the connection breaks or the context ends.
func (h *hints) collect(ctx context.Context, conn *pgx.Conn) error {
	for {
		waiting, cancel := context.WithTimeout(ctx, silence)
		notification, err := conn.WaitForNotification(waiting)
		silent := waiting.Err() != nil && ctx.Err() == nil
		cancel()
		switch {
		case err == nil:
			err = h.add(notification.Payload)
		case silent && !conn.IsClosed():
			err = ping(ctx, conn)
		}
		if err != nil {
			return err
		}
	}
}

func ping(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, listenTimeout)
	defer cancel()
	return conn.Ping(ctx)
}

func (h *hints) add(key string) error {
	if !storage.Within(key, h.prefix) || strings.HasPrefix(key, "?") {
		return nil
	}
	h.mu.Lock()
	h.keys[key] = true
	n := len(h.keys)
	h.mu.Unlock()
	if n > maxHints {
		return errLate
	}
	select {
	case h.more <- struct{}{}:
	default: // it is full already
	}
	return nil
}

func (h *hints) take() map[string]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	keys := h.keys
	h.keys = make(map[string]bool)
	return keys
}
