package nats

import (
	"context"
	"errors"
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/everseal/everseal/storage"
)

var (
	errLate  = errors.New("the caller has not taken the hints for too long")
	errBroke = errors.New("the connection broke")
)

const (
	maxHints  = 10_000          // keys that wait for the caller
	heartbeat = 2 * time.Second // of a server that has nothing to tell; without two the watch is lost
	pullTime  = 30 * time.Second
	glance    = 500 * time.Millisecond // between two looks at the connection
)

// Watch yields the keys at or below the prefix that are changed; see [storage.Watcher]. It ends with an error when it may have lost
// something: its connection broke, the servers have lost it or sent nothing for some seconds, or the caller has left too many
// hints waiting.
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
	h, stop, err := s.listen(ctx, c, prefix)
	if err != nil {
		return err
	}
	defer stop()
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
func (s *Store) listen(ctx context.Context, c *connection, prefix string) (h *hints, stop func(), err error) {
	h = &hints{
		connection: c, reconnects: c.conn.Stats().Reconnects, subjects: s.subjects(),
		more: make(chan struct{}, 1), ended: make(chan struct{}), keys: make(map[string]bool),
	}
	var subjects []string
	for _, subject := range subjectsOf(prefix) {
		subjects = append(subjects, s.subjects()+subject)
	}
	var listener jetstream.Consumer
	err = c.again(ctx, func(ctx context.Context) (err error) {
		listener, err = c.handle.CreateConsumer(ctx, jetstream.ConsumerConfig{
			DeliverPolicy: jetstream.DeliverNewPolicy, AckPolicy: jetstream.AckNonePolicy, FilterSubjects: subjects,
			HeadersOnly: true, MemoryStorage: true, Replicas: 1, InactiveThreshold: readerTimeout,
		})
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	if err := h.reach(ctx, listener); err != nil {
		return nil, nil, err
	}
	messages, err := listener.Messages(jetstream.PullExpiry(pullTime), jetstream.PullHeartbeat(heartbeat), jetstream.WithMessagesErrOnMissingHeartbeat(true))
	if err != nil {
		return nil, nil, err
	}
	listening, cancel := context.WithCancel(ctx)
	go func() {
		defer close(h.ended)
		h.err = h.collect(listening, messages)
		messages.Stop()
		_ = c.tell("CONSUMER.DELETE."+c.stream+"."+listener.CachedInfo().Name, nil) // else it is forgotten by itself
	}()
	return h, func() {
		cancel()
		<-h.ended
	}, nil
}

// reach asks the listener until it answers. In a cluster the server of this connection learns of it a little after it was made, and
// what is sent before is lost; Messages would ask no second time.
func (h *hints) reach(ctx context.Context, listener jetstream.Consumer) error {
	return h.connection.again(ctx, func(context.Context) error {
		batch, err := listener.FetchNoWait(1)
		if err != nil {
			return err
		}
		for message := range batch.Messages() {
			if err := h.note(message); err != nil {
				return err
			}
		}
		return batch.Error()
	})
}

// Hints are the keys that wait for the caller of a Watch. They are collected at all times: the servers would take a caller that
// takes its time for one that has gone.
type hints struct {
	connection *connection
	reconnects uint64        // of the connection when the watch began
	subjects   string        // what the bucket's begin with
	more       chan struct{} // full while there are keys
	ended      chan struct{} // closed when collect has returned
	err        error         // why, once ended is closed
	delivery   uint64        // of the latest message; collect's own

	mu   sync.Mutex
	keys map[string]bool // guarded by mu
}

// collect receives messages until hints are lost or the context ends.
func (h *hints) collect(ctx context.Context, messages jetstream.MessagesContext) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	go h.guard(ctx, end)
	for {
		// Without a time limit of its own: each call begins the wait for a sign of life anew.
		message, err := messages.Next(jetstream.NextContext(ctx))
		if lost := h.lost(); lost != nil {
			return lost
		}
		if err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return err
		}
		if err := h.note(message); err != nil {
			return err
		}
	}
}

// guard ends the context when the connection is lost.
func (h *hints) guard(ctx context.Context, end context.CancelCauseFunc) {
	look := time.NewTicker(glance)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.connection.ended:
		case <-look.C:
		}
		if err := h.lost(); err != nil {
			end(err)
			return
		}
	}
}

// lost returns why nothing more comes from the connection.
func (h *hints) lost() error {
	select {
	case <-h.connection.ended:
		return errClosed
	default:
	}
	if conn := h.connection.conn; !conn.IsConnected() || conn.Stats().Reconnects != h.reconnects {
		return errBroke
	}
	return nil
}

// note adds the key of a message.
func (h *hints) note(message jetstream.Msg) error {
	meta, err := message.Metadata()
	if err != nil {
		return err
	}
	if h.delivery++; meta.Sequence.Consumer != h.delivery {
		return errGap
	}
	subject, _ := strings.CutPrefix(message.Subject(), h.subjects)
	key, ok := keyOf(subject)
	if !ok {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.keys[key] = true
	if len(h.keys) > maxHints {
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
