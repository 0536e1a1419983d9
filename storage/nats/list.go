package nats

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	driver "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/wait"
)

const (
	keysPage    = 2048 // messages that List asks for at once
	recordsPage = 128  // messages that Scan asks for at once

	readerTimeout = time.Minute // after which the server forgets a reader that asks for nothing
	maxLost       = 5           // readers that may be lost one after another
	maxRuns       = 60          // in which a replica that lags may come to where its leader was

	markerAge  = time.Hour
	maxMarkers = 256 // that are removed after one reading
)

// List yields the keys that are prefix or lie below it; see [storage.Store]. It reads some thousand messages at a time, without
// their values.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for record, err := range s.records(ctx, &reading{operation: "list", page: keysPage, keysOnly: true}, prefix, "") {
			if !yield(record.Key, err) {
				return
			}
		}
	}
}

// Scan yields the records that are prefix or lie below it, in the order in which they were saved; see [storage.Scanner]. It reads
// some hundred at a time. Cursors are sequences. It remembers the keys of what it has yielded, so that a record that is saved
// meanwhile comes once.
func (s *Store) Scan(ctx context.Context, prefix, cursor string) iter.Seq2[storage.Record, error] {
	return s.records(ctx, &reading{operation: "scan", page: recordsPage}, prefix, cursor)
}

// A reading is a way to read many records, and how far it has come.
type reading struct {
	operation string
	page      int
	keysOnly  bool

	subjects []string
	next     uint64 // the sequence to continue at
	reader   jetstream.Consumer
	delivery uint64    // of the reader's latest message
	pending  uint64    // messages that the reader has still to deliver
	began    time.Time // by the server's clock
	last     uint64    // the sequence that the leader has for the subjects, at least
	runs     int       // in which the reader has waited for it
	seen     map[string]bool
	markers  []marker
}

// A marker is what is left of a record that was deleted.
type marker struct {
	subject  string
	sequence uint64
}

func (s *Store) records(ctx context.Context, r *reading, prefix, cursor string) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		if err := storage.AdmitPrefix(ctx, prefix); err != nil {
			yield(storage.Record{}, err)
			return
		}
		r := *r // a sequence may be ranged over again
		for _, subject := range subjectsOf(prefix) {
			r.subjects = append(r.subjects, s.subjects()+subject)
		}
		r.seen = make(map[string]bool)
		c, err := s.connect(ctx)
		if err == nil {
			err = r.from(ctx, c, cursor)
		}
		if err == nil {
			err = r.bound(ctx, c)
		}
		if err == nil {
			err = s.walk(ctx, c, &r, yield)
		}
		if err != nil {
			yield(storage.Record{}, s.failure(ctx, r.operation, prefix, err))
		}
	}
}

// from begins after the cursor, unless the stream has not come to it: then it is of another stream.
func (r *reading) from(ctx context.Context, c *connection, cursor string) error {
	last, err := strconv.ParseUint(cursor, 10, 64)
	if err != nil {
		return nil
	}
	return c.again(ctx, func(ctx context.Context) error {
		info, err := c.handle.Info(ctx)
		if err == nil && last <= info.State.LastSeq {
			r.next = last + 1
		}
		return err
	})
}

// walk yields the records, page by page. A reader that the servers have lost, as with the server that had it, is replaced by
// another that continues where it was.
func (s *Store) walk(ctx context.Context, c *connection, r *reading, yield func(storage.Record, error) bool) error {
	defer func() { r.forget(ctx, c) }()
	progress := time.Now()
	for lost := 0; ; {
		before := r.next
		more, err := s.readPage(ctx, c, r, yield)
		switch {
		case err == nil && !more:
			c.removeMarkers(r.markers)
			return nil
		case errors.Is(err, errEnough):
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			continue
		}
		if r.next > before {
			lost, progress = 0, time.Now()
		}
		if lost++; !isLost(err) || lost > maxLost || time.Since(progress) > patience {
			return err
		}
		// A reader that nobody knows may be one that the server of this connection has not heard of yet: it is asked once more.
		if lost%2 == 0 || !errors.Is(err, driver.ErrNoResponders) {
			r.forget(ctx, c)
		}
		if err := wait.Before(ctx, 6+lost); err != nil {
			return err
		}
	}
}

var (
	errEnough = errors.New("the caller wants no more")
	errGap    = errors.New("a message was lost on its way")
	errLags   = errors.New("a replica lags behind for too long")
)

// isLost reports whether another reader may succeed.
func isLost(err error) bool {
	return errors.Is(err, errGap) || refused(err) || passing(err) || errors.Is(err, jetstream.ErrConsumerDeleted) || errors.Is(err, jetstream.ErrConsumerNotFound) ||
		errors.Is(err, jetstream.ErrNoHeartbeat) || errors.Is(err, driver.ErrNoResponders) || errors.Is(err, jetstream.ErrServerShutdown)
}

// readPage yields a page, and reports whether there are more.
func (s *Store) readPage(ctx context.Context, c *connection, r *reading, yield func(storage.Record, error) bool) (more bool, err error) {
	if r.reader == nil {
		if err := r.begin(ctx, c); err != nil {
			return false, err
		}
	}
	if r.pending == 0 {
		return r.lags(ctx, c)
	}
	want := int(min(uint64(r.page), r.pending))
	batch, err := r.reader.FetchNoWait(want)
	if err != nil {
		return false, err
	}
	got := 0
	for {
		select {
		case message, ok := <-batch.Messages():
			if !ok {
				if err := batch.Error(); err != nil {
					return false, err
				}
				if got < want { // some were deleted, or are late
					err = r.look(ctx, c)
				}
				if err == nil && got == 0 && r.pending > 0 {
					err = errGap
				}
				return true, err
			}
			got++
			record, ok, err := s.take(c, r, message)
			if err != nil {
				return false, err
			}
			if ok && !yield(record, nil) {
				return false, errEnough
			}
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

// begin makes a reader. As there is no history, its messages are the latest of each key.
func (r *reading) begin(ctx context.Context, c *connection) error {
	config := jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverAllPolicy, AckPolicy: jetstream.AckNonePolicy, FilterSubjects: r.subjects,
		HeadersOnly: r.keysOnly, MemoryStorage: true, Replicas: 1, InactiveThreshold: readerTimeout,
	}
	if r.next > 0 {
		config.DeliverPolicy, config.OptStartSeq = jetstream.DeliverByStartSequencePolicy, r.next
	}
	return c.again(ctx, func(ctx context.Context) error {
		reader, err := c.handle.CreateConsumer(ctx, config)
		if err != nil {
			return err
		}
		info := reader.CachedInfo()
		r.reader, r.pending, r.delivery = reader, info.NumPending, 0
		if r.began.IsZero() {
			r.began = info.TimeStamp
		}
		return nil
	})
}

// bound asks the leader for the latest sequence of the subjects. A reader can be with a replica that lags behind: it has read all when
// it has come there.
func (r *reading) bound(ctx context.Context, c *connection) error {
	r.last = 0
	if c.handle.CachedInfo().Config.Replicas == 1 {
		return nil
	}
	for _, subject := range r.subjects {
		f, err := c.read(ctx, subject)
		if err != nil {
			return err
		}
		r.last = max(r.last, f.sequence)
	}
	return nil
}

// lags reports whether a reader that has no more messages should have some. The latest may have been a marker, which was removed
// since: so the leader is asked again.
func (r *reading) lags(ctx context.Context, c *connection) (bool, error) {
	if r.last == 0 || r.next > r.last {
		return false, nil
	}
	if r.runs++; r.runs > maxRuns {
		return false, errLags
	}
	if err := wait.Before(ctx, r.runs); err != nil {
		return false, err
	}
	if err := r.bound(ctx, c); err != nil {
		return false, err
	}
	return true, r.look(ctx, c)
}

// look asks how many messages there are to come.
func (r *reading) look(ctx context.Context, c *connection) error {
	return c.again(ctx, func(ctx context.Context) error {
		info, err := r.reader.Info(ctx)
		if err == nil {
			r.pending = info.NumPending
		}
		return err
	})
}

// forget tells the server that the reader is not needed any more.
func (r *reading) forget(ctx context.Context, c *connection) {
	if r.reader == nil {
		return
	}
	_ = c.tell("CONSUMER.DELETE."+c.stream+"."+r.reader.CachedInfo().Name, nil) // else it is forgotten by itself
	r.reader = nil
}

// take returns the record of a message, and false if it has none that is new.
func (s *Store) take(c *connection, r *reading, message jetstream.Msg) (record storage.Record, ok bool, err error) {
	meta, err := message.Metadata()
	if err != nil {
		return storage.Record{}, false, err
	}
	if meta.Sequence.Consumer != r.delivery+1 {
		return storage.Record{}, false, errGap
	}
	r.delivery, r.pending, r.next = meta.Sequence.Consumer, meta.NumPending, meta.Sequence.Stream+1
	c.note(meta.Sequence.Stream)
	f := foundIn(meta.Sequence.Stream, message.Headers(), message.Data())
	if f.marker {
		if r.began.Sub(meta.Timestamp) > s.markerAge && len(r.markers) < maxMarkers {
			r.markers = append(r.markers, marker{message.Subject(), f.sequence})
		}
		return storage.Record{}, false, nil
	}
	subject, _ := strings.CutPrefix(message.Subject(), s.subjects())
	key, ok := keyOf(subject)
	if !ok || r.seen[key] {
		return storage.Record{}, false, nil
	}
	r.seen[key] = true
	record = storage.Record{Key: key, Cursor: strconv.FormatUint(f.sequence, 10)}
	if !r.keysOnly {
		record.Item = storage.Item{Value: f.value, Revision: f.revision()}
	}
	return record, true, nil
}

// removeMarkers asks the server to remove markers, each up to its own sequence: what was saved since stays. There is no answer to wait
// for; what is left is found again.
func (c *connection) removeMarkers(markers []marker) {
	for _, m := range markers {
		if err := c.tell("STREAM.PURGE."+c.stream, fmt.Appendf(nil, `{"filter":%q,"seq":%d}`, m.subject, m.sequence+1)); err != nil {
			return
		}
	}
}

// tell sends a request of JetStream's API whose answer is not needed.
func (c *connection) tell(request string, body []byte) error {
	prefix := c.prefix
	if prefix == "" {
		prefix = jetstream.DefaultAPIPrefix
	}
	return c.conn.Publish(prefix+request, body)
}
