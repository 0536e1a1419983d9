package nats

import (
	"context"
	"errors"
	"sync"
	"time"

	driver "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/everseal/everseal/storage/internal/wait"
)

// requestTimeout is how long an answer is waited for, if the caller's context does not end before.
const requestTimeout = 5 * time.Second

// A connection is what the store asks the servers through.
type connection struct {
	client jetstream.JetStream
	conn   *driver.Conn
	handle jetstream.Stream
	stream string        // its name
	prefix string        // of subjects that are published to, in another domain than the connection's
	ended  chan struct{} // closed by close

	mu         sync.Mutex
	reconnects uint64         // that were noticed; guarded by mu
	latest     uint64         // sequence that was seen; guarded by mu
	doubted    uint64         // latest as it was at the last reconnect; guarded by mu
	calls      map[*call]bool // that are under way; guarded by mu
}

// A call is one that waits for an answer.
type call struct{ cancel context.CancelCauseFunc }

// limit returns a context for a call. It ends when the connection breaks, as the answer does not come then, and the client would
// wait for it all the same.
func (c *connection) limit(ctx context.Context) (limited context.Context, done func()) {
	ctx, stop := context.WithTimeout(ctx, requestTimeout)
	ctx, cancel := context.WithCancelCause(ctx)
	one := &call{cancel}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls[one] = true
	return ctx, func() {
		c.mu.Lock()
		delete(c.calls, one)
		c.mu.Unlock()
		cancel(nil)
		stop()
	}
}

// attend ends the calls under way whenever the connection breaks.
func (c *connection) attend(states chan driver.Status) {
	defer c.conn.RemoveStatusListener(states)
	for {
		select {
		case _, ok := <-states:
			if !ok {
				states = nil
			}
			c.mu.Lock()
			for one := range c.calls {
				one.cancel(errBroke)
			}
			c.mu.Unlock()
		case <-c.ended:
			return
		}
	}
}

func newConnection(client jetstream.JetStream, stream string) *connection {
	c := &connection{client: client, conn: client.Conn(), stream: stream, ended: make(chan struct{}), calls: make(map[*call]bool)}
	c.reconnects = c.conn.Stats().Reconnects
	switch o := client.Options(); {
	case o.Domain != "":
		c.prefix = "$JS." + o.Domain + ".API."
	case o.APIPrefix != "":
		c.prefix = o.APIPrefix
		if c.prefix[len(c.prefix)-1] != '.' {
			c.prefix += "."
		}
	}
	if c.prefix == jetstream.DefaultAPIPrefix {
		c.prefix = ""
	}
	go c.attend(c.conn.StatusChanged(driver.RECONNECTING, driver.CLOSED))
	return c
}

func (c *connection) close(owned bool) {
	close(c.ended)
	if owned {
		c.conn.Close()
	}
}

// note notes a sequence that the stream has given.
func (c *connection) note(sequence uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.latest = max(c.latest, sequence)
}

// doubtful reports whether a sequence is from before the last reconnect. The server may have been restarted then, have lost what
// was not yet on its disk, and have given the sequence to another message.
func (c *connection) doubtful(sequence uint64) bool {
	reconnects := c.conn.Stats().Reconnects
	c.mu.Lock()
	defer c.mu.Unlock()
	if reconnects != c.reconnects {
		c.reconnects, c.doubted = reconnects, c.latest
	}
	return sequence <= c.doubted
}

// connect returns the connection once the bucket was found to be right, or has been made.
func (s *Store) connect(ctx context.Context) (*connection, error) {
	if c := s.ready.Load(); c != nil {
		return c, nil
	}
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-s.turn }()
	if c := s.ready.Load(); c != nil {
		return c, nil
	}
	if s.closed {
		return nil, errClosed
	}
	if s.connection == nil {
		client := s.given
		if client == nil {
			var err error
			if client, err = s.dial(ctx); err != nil {
				return nil, err
			}
		}
		s.connection = newConnection(client, s.streamName())
		s.last.Store(s.connection)
	}
	var handle jetstream.Stream
	err := s.connection.again(ctx, func(ctx context.Context) (err error) {
		handle, err = s.open(ctx, s.connection)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.connection.handle = handle
	s.ready.Store(s.connection)
	return s.connection, nil
}

// read returns what the stream's leader has for a subject.
func (c *connection) read(ctx context.Context, subject string) (f found, err error) {
	err = c.again(ctx, func(ctx context.Context) error {
		m, err := c.handle.GetLastMsgForSubject(ctx, subject)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			f = found{}
			return nil
		}
		if err == nil {
			f = foundIn(m.Sequence, m.Header, m.Data)
		}
		return err
	})
	if err == nil {
		c.note(f.sequence)
	}
	return f, err
}

// again makes a call that changes nothing, and makes it again while it may succeed soon.
func (c *connection) again(ctx context.Context, call func(ctx context.Context) error) error {
	began := time.Now()
	for runs := 1; ; runs++ {
		limited, done := c.limit(ctx)
		err := broken(limited, call(limited))
		done()
		if err == nil || ctx.Err() != nil || !refused(err) && !passing(err) || time.Since(began) >= patience {
			return err
		}
		if err := wait.Before(ctx, runs); err != nil {
			return err
		}
	}
}

// broken returns the error of a call, which is another one if the connection has broken.
func broken(limited context.Context, err error) error {
	if err != nil && context.Cause(limited) == errBroke {
		return errBroke
	}
	return err
}
