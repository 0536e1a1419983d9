package nats

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/everseal/everseal/storage"
)

// A watch is one whose hints the test pulls.
type watch struct {
	next func() (string, error, bool)
	stop func()
}

func startWatch(ctx context.Context, t *testing.T, s *Store, prefix string) watch {
	t.Helper()
	next, stop := iter.Pull2(s.Watch(ctx, prefix))
	t.Cleanup(stop)
	if key, err, ok := next(); key != "" || err != nil || !ok {
		t.Fatalf("the first that Watch yields is %q, %v, want \"\"", key, err)
	}
	return watch{next, stop}
}

func (w watch) want(t *testing.T, want string) {
	t.Helper()
	if key, err, _ := w.next(); key != want || err != nil {
		t.Fatalf("Watch yields %q, %v, want %q", key, err, want)
	}
}

// wantEnd takes what is left and wants the error that it ends with.
func (w watch) wantEnd(t *testing.T, want error) {
	t.Helper()
	for {
		key, err, ok := w.next()
		if !ok {
			t.Fatal("Watch ended without an error")
		}
		if err == nil {
			continue
		}
		if key != "" || !errors.Is(err, want) {
			t.Errorf("Watch yields %q, %v, want %v", key, err, want)
		}
		if _, _, ok := w.next(); ok {
			t.Error("Watch continues after its error")
		}
		return
	}
}

func save(t *testing.T, s storage.Store, key string) {
	t.Helper()
	if _, err := storage.Update(t.Context(), s, key, func(old []byte) ([]byte, error) { return append(old, 'x'), nil }); err != nil {
		t.Fatal(err)
	}
}

// A caller that takes no hints for long must not make its process keep all that is changed.
func TestWatchLate(t *testing.T) {
	s := newTarget(t).open(t)
	c, err := s.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h, stop, err := s.listen(t.Context(), c, "certificates")
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	for n := range maxHints + 1 {
		subject := s.recordSubject(fmt.Sprintf("certificates/%d", n))
		err := c.conn.Publish(subject, nil)
		if n%1000 == 0 { // the server drops what it can't keep up with
			_, err = c.client.Publish(t.Context(), subject, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if <-h.ended; !errors.Is(h.err, errLate) {
		t.Errorf("a watch with more than %d keys waiting: %v, want errLate", maxHints, h.err)
	}
}

// A watch ends with an error when its server is killed, and when the servers have lost what they knew of it.
func TestWatchLost(t *testing.T) {
	one, err := newServer()
	node := start(t, one, err)
	s := targetAt(node.Address()).open(t)
	w := startWatch(t.Context(), t, s, "")
	save(t, s, "a")
	w.want(t, "a")
	client := adminOf(t, node)
	stream, err := client.Stream(t.Context(), s.streamName())
	if err != nil {
		t.Fatal(err)
	}
	for name := range stream.ConsumerNames(t.Context()).Name() {
		if err := stream.DeleteConsumer(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	w.wantEnd(t, jetstream.ErrConsumerDeleted)

	w = startWatch(t.Context(), t, s, "")
	node.End(os.Kill)
	w.wantEnd(t, errBroke)
}

// A watch ends when its server says nothing any more though the connection stands: one that waits for ever leaves its process with
// old certificates.
func TestWatchSilence(t *testing.T) {
	one, err := newServer()
	node := start(t, one, err)
	w := startWatch(t.Context(), t, targetAt(node.Address()).open(t), "")
	if err := node.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	w.wantEnd(t, jetstream.ErrNoHeartbeat)
	if err := node.Signal(syscall.SIGCONT); err != nil {
		t.Error(err)
	}
}

// A watch of a store that is closed ends.
func TestWatchClosed(t *testing.T) {
	d := newTarget(t)
	s, err := Open(t.Context(), d.url, Config{})
	if err != nil {
		t.Fatal(err)
	}
	w := startWatch(t.Context(), t, s, "")
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	w.wantEnd(t, errClosed)
}
