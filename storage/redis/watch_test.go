package redis

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/server"
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
	var key string
	var err error
	eventually(t, func() error { // after a failover it may take its time
		var ok bool
		key, err, ok = next()
		if err != nil || !ok {
			stop()
			next, stop = iter.Pull2(s.Watch(ctx, prefix))
		}
		return err
	})
	if key != "" {
		t.Fatalf("the first that Watch yields is %q, want \"\"", key)
	}
	return watch{next, stop}
}

// The driver makes a connection anew by itself. What was published meanwhile is lost, so Watch must end.
func TestWatchCut(t *testing.T) {
	eachKind(t, func(t *testing.T, d target) {
		s, other := d.with("client_name", d.prefix).open(t), d.open(t)
		w := startWatch(t.Context(), t, s, "certificates")
		mustSave(t, other, "certificates/seen", "x")
		if key, err, _ := w.next(); key != "certificates/seen" || err != nil {
			t.Fatalf("Watch yields %q, %v", key, err)
		}
		cutWatches(t, s, d.prefix)
		mustSave(t, other, "certificates/missed", "x")
		if key, err, _ := w.next(); key != "" || err == nil || errors.Is(err, context.Canceled) {
			t.Fatalf("Watch whose connection was cut yields %q, %v, want an error", key, err)
		}
		if _, _, ok := w.next(); ok {
			t.Error("Watch continues after its error")
		}
		w = startWatch(t.Context(), t, s, "certificates")
		mustSave(t, other, "certificates/new", "x")
		if key, err, _ := w.next(); key != "certificates/new" || err != nil {
			t.Errorf("Watch yields %q, %v", key, err)
		}
	})
}

// A connection that is made anew without an error is noticed by its confirmation.
func TestWatchSubscribedAgain(t *testing.T) {
	d := newTarget(t, "redis-server")
	s := d.open(t)
	ctx, stop := context.WithCancelCause(t.Context())
	defer stop(nil)
	l := &listener{channel: s.everything, probes: "probes", timeout: probeTimeout, listens: make(chan struct{}), echoes: make(chan string, 1),
		more: make(chan struct{}, 1), keys: map[string]bool{}}
	pubsub := s.client.Subscribe(ctx)
	defer pubsub.Close()
	confirmed := make(chan struct{})
	received := make(chan error, 1)
	go func() { received <- s.receive(ctx, pubsub, l, confirmed) }()
	<-confirmed
	if err := pubsub.Subscribe(ctx, s.everything); err != nil { // as the driver does it
		t.Fatal(err)
	}
	if err := <-received; !errors.Is(err, errEnded) {
		t.Errorf("a second confirmation: %v, want errEnded", err)
	}
}

// Where the connection stands and nothing comes through, the probe notices it.
func TestWatchDeaf(t *testing.T) {
	s := newTarget(t, "redis-server").open(t)
	l := &listener{probes: "nobody listens", timeout: 10 * time.Millisecond, echoes: make(chan string, 1)}
	if err := s.probeOnce(t.Context(), l); !errors.Is(err, errDeaf) {
		t.Errorf("%v, want errDeaf", err)
	}
	// One that is late is not the one that was sent.
	l.echoes <- "another"
	if err := s.probeOnce(t.Context(), l); !errors.Is(err, errDeaf) {
		t.Errorf("%v, want errDeaf", err)
	}
	// Nor does it matter whether the server has taken it by then. The deadline is not the caller's.
	l.timeout = time.Nanosecond
	if err := s.probeOnce(t.Context(), l); !errors.Is(err, errDeaf) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want errDeaf", err)
	}
}

// A caller that takes no hints for long must not make them pile up.
func TestWatchLate(t *testing.T) {
	l := &listener{more: make(chan struct{}, 1), keys: map[string]bool{}}
	var err error
	n := 0
	for ; err == nil && n <= 2*maxHints; n++ {
		err = l.add(fmt.Sprintf("certificates/%d", n))
	}
	if !errors.Is(err, errLate) || n != maxHints+1 {
		t.Errorf("after %d hints: %v, want errLate", n, err)
	}
	if err := l.add("a"); err == nil {
		t.Error("it goes on")
	}
	if got := len(l.take()); got < maxHints {
		t.Errorf("%d hints are left", got)
	}
}

// Heartbeats of leases do not disturb those who watch certificates: another channel tells of them.
func TestWatchChannels(t *testing.T) {
	n := newNode(t, "redis-server")
	s := target{url: n.url()}.open(t)
	client := n.client(t)
	pubsub := client.Subscribe(t.Context(), s.channel("certificates/a"))
	defer pubsub.Close()
	if _, err := pubsub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"work/a", "certificatesque/a", "certificates/a"} {
		item := mustSave(t, s, key, "x")
		// What changes nothing tells nothing.
		if _, err := s.Save(t.Context(), key, nil, "AAAAAAAAAAAAAAAAAAAAAAAAAA"); !errors.Is(err, storage.ErrConflict) {
			t.Error(err)
		}
		if err := s.Delete(t.Context(), key, item.Revision); err != nil {
			t.Error(err)
		}
	}
	for range 2 {
		if got, err := pubsub.ReceiveMessage(t.Context()); err != nil || got.Payload != "certificates/a" {
			t.Fatalf("%v, %v", got, err)
		}
	}
	client.Publish(t.Context(), s.channel("certificates/a"), "last")
	if got, err := pubsub.ReceiveMessage(t.Context()); err != nil || got.Payload != "last" {
		t.Errorf("%v, %v", got, err)
	}
}

// Connections of watches break at any byte. Who reads everything again after each first "" knows all in the end.
func TestWatchThroughCuts(t *testing.T) {
	n := newNode(t, "redis-server")
	c := server.NewCutter(t, n.Address())
	u := url.URL{Scheme: "redis", Host: c.Address()}
	watching, other := target{url: u.String()}.open(t), target{url: n.url()}.open(t)
	const last = "certificates/last"
	found := make(chan error, 1)
	begun := make(chan struct{}, 1000)
	go func() {
		for {
			var lastErr error
			for key, err := range watching.Watch(t.Context(), "certificates") {
				if key == last {
					found <- nil
					return
				}
				if err == nil && key == "" {
					begun <- struct{}{}
					_, err = other.Load(t.Context(), last)
					if err == nil {
						found <- nil
						return
					}
				}
				lastErr = err
			}
			if t.Context().Err() != nil {
				found <- lastErr
				return
			}
		}
	}()
	<-begun
	long := "certificates/" + strings.Repeat("a", 400)
	for i := 0; len(begun) < 3; i++ {
		mustSave(t, other, long, fmt.Sprint(i))
	}
	mustSave(t, other, last, "x")
	if err := <-found; err != nil {
		t.Error(err)
	}
}
