package nats

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	driver "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/everseal/everseal/storage/internal/wait"
)

// errConflict reports that the stored revision is for certain another one than the caller's.
var errConflict = errors.New("another revision is stored")

// patience is for how long a call is made again that did nothing, or whose outcome is not known: as long as an election takes.
const patience = 3 * time.Second

// A change is a message for the stream, under the condition that a version is the stored one.
type change struct {
	subject string
	value   []byte
	nonce   string
	before  version // zero if there must be nothing
	marker  bool    // that the record is deleted
}

func newChange(subject string, value []byte, before version, marker bool) change {
	return change{subject, value, rand.Text(), before, marker}
}

// message returns a new one: the client writes its headers into it.
func (ch change) message(prefix string) *driver.Msg {
	m := driver.NewMsg(prefix + ch.subject)
	m.Data = ch.value
	m.Header.Set(nonceHeader, ch.nonce)
	if ch.marker {
		m.Header.Set(operationHeader, operationDelete)
	}
	return m
}

// change makes one, and returns what is stored then. It sends the message again, with the same nonce, while nobody took it or
// nobody knows. What is stored decides, by the nonce: the server compares sequences before it looks whether it has the message.
func (s *Store) change(ctx context.Context, ch change) (version, error) {
	c, err := s.connect(ctx)
	if err != nil {
		return version{}, err
	}
	if ch.before.sequence > 0 && c.doubtful(ch.before.sequence) {
		if f, err := c.read(ctx, ch.subject); err != nil {
			return version{}, err
		} else if !f.exists() || f.version != ch.before {
			return version{}, errConflict
		}
	}
	expected := ch.before.sequence
	var unknown error // of a message that may have been stored
	for began, runs := time.Now(), 1; ; runs++ {
		sequence, err := c.publish(ctx, ch, expected)
		if err == nil {
			return version{sequence, ch.nonce}, nil
		}
		conflict := isConflict(err)
		if !conflict && !refused(err) && !passing(err) {
			return version{}, err
		}
		if !conflict && !refused(err) {
			unknown = err
		}
		if !refused(err) {
			f, readErr := c.read(ctx, ch.subject)
			switch {
			case readErr != nil && conflict && unknown == nil:
				return version{}, readErr
			case readErr != nil:
			case f.nonce == ch.nonce:
				return f.version, nil
			case unknown != nil && f.sequence > expected && f.version != ch.before:
				return version{}, unknown // it may have been stored, and replaced or deleted
			case ch.before.sequence == 0 && !f.exists():
				expected = f.sequence // of the marker, or 0
			case ch.before.sequence > 0 && f.version == ch.before:
				// Another's message was on its way, and has not arrived.
			case unknown != nil:
				return version{}, unknown
			case conflict:
				return version{}, errConflict
			}
		}
		if time.Since(began) >= patience {
			return version{}, firstOf(unknown, err)
		}
		if pauseErr := wait.Before(ctx, runs); pauseErr != nil {
			return version{}, firstOf(unknown, pauseErr)
		}
	}
}

func firstOf(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// publish sends a change once.
func (c *connection) publish(ctx context.Context, ch change, expected uint64) (sequence uint64, err error) {
	ctx, done := c.limit(ctx)
	defer done()
	ack, err := c.client.PublishMsg(ctx, ch.message(c.prefix), jetstream.WithExpectLastSequencePerSubject(expected),
		jetstream.WithExpectStream(c.stream), jetstream.WithRetryAttempts(0))
	if err != nil {
		return 0, broken(ctx, err)
	}
	c.note(ack.Sequence)
	return ack.Sequence, nil
}

// isConflict reports whether the server has found another sequence than expected.
func isConflict(err error) bool {
	var e *jetstream.APIError
	return errors.As(err, &e) &&
		(e.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || e.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// refused reports whether nobody has taken the call, and nothing was done.
func refused(err error) bool {
	return errors.Is(err, driver.ErrNoResponders) || errors.Is(err, jetstream.ErrNoStreamResponse) ||
		errors.Is(err, driver.ErrReconnectBufExceeded) || errors.Is(err, driver.ErrConnectionReconnecting)
}

// passing reports whether a call that had no answer may have one soon.
func passing(err error) bool {
	var e *jetstream.APIError
	if errors.As(err, &e) {
		return e.Code == unavailable || e.ErrorCode == duplicateUnderWay
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, driver.ErrTimeout) || errors.Is(err, errBroke)
}

const (
	unavailable       = 503   // no leader, say
	duplicateUnderWay = 10158 // the same message is being stored
)
