package redis

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/everseal/everseal/storage"
)

const (
	probeInterval = 20 * time.Second // between two probes of a watch
	probeTimeout  = 10 * time.Second // for a probe, and for the connection
	maxHints      = 1 << 16          // keys that may wait for the caller
)

var (
	errLate  = errors.New("hints were lost, as the caller has not taken them for too long")
	errDeaf  = errors.New("hints do not come through, as after a failover or behind a proxy")
	errEnded = errors.New("hints may have been lost, as the connection was made anew or the slot has moved")
)

// Watch yields the keys below the prefix that are changed; see [storage.Watcher]. It has a connection of its own, over which a
// probe is sent every 20 seconds, by way of the master that takes the changes. If none comes back, or if the connection
// breaks or is made anew, hints may have been lost: Watch ends with an error. Watch says that it listens when the first probe
// has come through.
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
	if err := s.check(ctx); err != nil {
		return err
	}
	channel := s.everything
	if prefix != "" {
		channel = s.channel(prefix)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	l := &listener{
		prefix: prefix, channel: channel, probes: s.everything + "?" + rand.Text(), timeout: probeTimeout,
		listens: make(chan struct{}), echoes: make(chan string, 1), more: make(chan struct{}, 1), keys: make(map[string]bool),
	}
	if err := s.listen(ctx, l, stop); err != nil {
		return err
	}
	if err := await(ctx, l.listens); err != nil {
		return err
	}
	if !yield("", nil) {
		return nil
	}
	for {
		if err := await(ctx, l.more); err != nil {
			return err
		}
		for key := range l.take() {
			if !yield(key, nil) {
				return nil
			}
		}
	}
}

// await returns nil when the channel has something, or why the context has ended.
func await(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// A listener has the keys that wait for the caller of a Watch. They are collected at all times: a server that can't send
// them keeps them, and breaks the connection.
type listener struct {
	prefix  string
	channel string
	probes  string        // the channel of its own probes
	timeout time.Duration // of a probe
	listens chan struct{} // closed when the first probe has come back
	echoes  chan string   // probes that have come back
	more    chan struct{} // full while there are keys

	mu   sync.Mutex
	keys map[string]bool // guarded by mu
}

// listen starts what a listener needs, until the context ends, and ends it by stop when it fails.
func (s *Store) listen(ctx context.Context, l *listener, stop context.CancelCauseFunc) error {
	var pubsub *redis.PubSub
	if s.cluster != nil {
		pubsub = s.client.SSubscribe(ctx)
	} else {
		pubsub = s.client.Subscribe(ctx)
	}
	confirmed := make(chan struct{})
	// Each of these may hear late that the context has ended; Close waits for them, the caller of Watch does not.
	for _, task := range []func() error{
		func() error {
			defer pubsub.Close() // ends a receive
			select {
			case <-ctx.Done():
			case <-s.ended:
				stop(errClosed)
			}
			return nil
		},
		func() error { return s.receive(ctx, pubsub, l, confirmed) },
		func() error {
			if err := await(ctx, confirmed); err != nil {
				return err
			}
			return s.probe(ctx, l)
		},
	} {
		if err := s.start(func() { stop(task()) }); err != nil {
			stop(err)
			return err
		}
	}
	return nil
}

// receive collects hints. The driver makes a broken connection anew by itself and subscribes again: it says so by an error, and else
// by a second confirmation.
func (s *Store) receive(ctx context.Context, pubsub *redis.PubSub, l *listener, confirmed chan struct{}) error {
	subscribing, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	subscribe := pubsub.Subscribe
	if s.cluster != nil {
		subscribe = pubsub.SSubscribe
	}
	if err := subscribe(subscribing, l.channel, l.probes); err != nil {
		return err
	}
	waiting := 2 // confirmations that have not come
	for {
		// A time limit could end it within a message, whose rest would be taken for the next one.
		received, err := pubsub.Receive(context.WithoutCancel(ctx))
		if err != nil {
			return fmt.Errorf("the connection broke, hints may have been lost: %w", err)
		}
		switch received := received.(type) {
		case *redis.Subscription:
			if waiting == 0 || received.Kind != "subscribe" && received.Kind != "ssubscribe" {
				return errEnded
			}
			if waiting--; waiting == 0 {
				close(confirmed)
			}
		case *redis.Message:
			if received.Channel != l.probes {
				err = l.add(received.Payload)
			} else {
				select {
				case l.echoes <- received.Payload:
				default: // one that was too late is in there
				}
			}
		}
		if err != nil {
			return err
		}
	}
}

// probe sees to it that what the master publishes comes through.
func (s *Store) probe(ctx context.Context, l *listener) error {
	for first := true; ; first = false {
		if err := s.probeOnce(ctx, l); err != nil {
			return err
		}
		if first {
			close(l.listens)
		}
		timer := time.NewTimer(probeInterval)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

func (s *Store) probeOnce(ctx context.Context, l *listener) error {
	probing, cancel := context.WithTimeoutCause(ctx, l.timeout, errDeaf)
	defer cancel()
	text := rand.Text()
	err := s.call(probing, func() error {
		if s.cluster != nil {
			return s.client.SPublish(probing, l.probes, text).Err()
		}
		return s.client.Publish(probing, l.probes, text).Err()
	})
	if err != nil && probing.Err() != nil {
		return fmt.Errorf("%w: %v", context.Cause(probing), err) // a deadline that is not the caller's
	}
	if err != nil {
		return err
	}
	for {
		select {
		case echo := <-l.echoes:
			if echo == text {
				return nil
			}
		case <-probing.Done():
			return context.Cause(probing)
		}
	}
}

func (l *listener) add(key string) error {
	if storage.CheckKey(key) != nil || !storage.Within(key, l.prefix) {
		return nil // somebody tries what he may do
	}
	l.mu.Lock()
	l.keys[key] = true
	n := len(l.keys)
	l.mu.Unlock()
	if n > maxHints {
		return errLate
	}
	select {
	case l.more <- struct{}{}:
	default: // it is full already
	}
	return nil
}

func (l *listener) take() map[string]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	keys := l.keys
	l.keys = make(map[string]bool)
	return keys
}
