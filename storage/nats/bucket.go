package nats

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/everseal/everseal/storage"
)

// A bucket says by its metadata that it is a store's, and of which version its layout is.
const (
	metadataName  = "everseal"
	layoutVersion = "1"
)

const (
	maxOverhead     = 4096 // of a message: its headers
	maxMessage      = storage.MaxValue + maxOverhead
	minFirst        = 1e15            // a bucket's first sequence, as a time in microseconds
	duplicateWindow = 2 * time.Minute // for which the server knows a message by its nonce
	enoughReplicas  = 3

	replicasNotSupported = 10074 // the server's code for more than one without a cluster
)

var (
	errForeign = errors.New("the bucket was not made for this library: name another one (Config.Bucket, or the path of the URL), or add the metadata " +
		metadataName + "=" + layoutVersion + " if it is")
	errVersion = errors.New("the bucket is used by another version of this library: update the older one, or name another bucket")
	errSettled = errors.New("the bucket has a setting that breaks the store's promises")
	errPayload = errors.New("the server takes no messages of the size that records may have: let its max_payload be 1MB, as it is by default")
)

// open returns the bucket's stream, which is made if it is missing.
func (s *Store) open(ctx context.Context, c *connection) (jetstream.Stream, error) {
	if limit := c.conn.MaxPayload(); limit > 0 && limit < maxMessage {
		return nil, errPayload
	}
	handle, err := c.client.Stream(ctx, c.stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		handle, err = s.create(ctx, c)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			handle, err = c.client.Stream(ctx, c.stream) // another was faster
		}
	}
	if err != nil {
		return nil, err
	}
	return handle, s.check(handle.CachedInfo())
}

// create makes the bucket. Whether there is a cluster only those know that keep it: the server of this connection may be at the edge of
// theirs, or have a cluster's name for what is at its own edge.
func (s *Store) create(ctx context.Context, c *connection) (jetstream.Stream, error) {
	if s.replicas != 0 {
		return c.client.CreateStream(ctx, s.newBucket(s.replicas))
	}
	handle, err := c.client.CreateStream(ctx, s.newBucket(enoughReplicas))
	var refusal *jetstream.APIError
	if errors.As(err, &refusal) && refusal.ErrorCode == replicasNotSupported {
		return c.client.CreateStream(ctx, s.newBucket(1))
	}
	return handle, err
}

// newBucket returns what is asked for: a key-value bucket whose reads the leader answers, and whose sequences are greater than
// those of one that had its name before.
func (s *Store) newBucket(replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: s.streamName(), Description: "certificates and what belongs to them", Subjects: []string{s.subjects() + everything},
		MaxMsgsPerSubject: 1, MaxMsgs: -1, MaxBytes: -1, MaxConsumers: -1, MaxMsgSize: -1,
		Storage: jetstream.FileStorage, Replicas: replicas, Discard: jetstream.DiscardNew, Duplicates: duplicateWindow,
		AllowRollup: true, DenyDelete: true, FirstSeq: uint64(time.Now().UnixMicro()),
		Metadata: map[string]string{metadataName: layoutVersion},
	}
}

// check refuses a bucket that is not a store's, or that would not keep its promises.
func (s *Store) check(info *jetstream.StreamInfo) error {
	c := info.Config
	switch c.Metadata[metadataName] {
	case layoutVersion:
	case "":
		return errForeign
	default:
		return errVersion
	}
	for _, one := range []struct {
		wrong bool
		cure  string
	}{
		{c.Mirror != nil || len(c.Sources) > 0, "it is a mirror, or has sources, and lags behind: name the bucket that it is made from"},
		{c.AllowDirect || c.MirrorDirect, "replicas that lag behind answer its reads: let allow_direct be false (nats stream edit --no-allow-direct)"},
		{c.MaxMsgsPerSubject != 1, "it keeps a history: let max_msgs_per_subject be 1"},
		{c.MaxAge != 0 || c.SubjectDeleteMarkerTTL != 0, "it deletes records by their age: let max_age and subject_delete_marker_ttl be 0"},
		{c.Retention != jetstream.LimitsPolicy, "it deletes what was read: let retention be limits"},
		{c.Discard != jetstream.DiscardNew || c.DiscardNewPerSubject, "it deletes records when it is full: let discard be new, and discard_new_per_subject be false"},
		{c.NoAck || c.PersistMode == jetstream.AsyncPersistMode, "it acknowledges what it has not stored: let no_ack be false and persist_mode be default"},
		{c.Sealed || c.DenyPurge, "it takes no changes: let sealed and deny_purge be false"},
		{c.SubjectTransform != nil || !slices.Equal(c.Subjects, []string{s.subjects() + everything}), "its subjects are not those of a key-value bucket: let them be " +
			s.subjects() + everything},
		{c.MaxMsgSize > 0 && c.MaxMsgSize < maxMessage, fmt.Sprintf("it takes no records of full size: let max_msg_size be -1, or at least %d", maxMessage)},
		{c.FirstSeq < minFirst, "its sequences could return: let first_seq be the time at which it is made, in microseconds (date +%s000000)"},
	} {
		if one.wrong {
			return fmt.Errorf("%w: %s", errSettled, one.cure)
		}
	}
	return nil
}

// Warnings returns what an operator should know though everything works: that the bucket has fewer than three replicas, or only memory to
// keep it in. Whether servers wait for their disks (sync_interval: always) can't be seen from here. certmanager.Manager logs them when it
// begins to run.
func (s *Store) Warnings(ctx context.Context) []error {
	c, err := s.connect(ctx)
	var info *jetstream.StreamInfo
	if err == nil {
		err = c.again(ctx, func(ctx context.Context) (err error) {
			info, err = c.handle.Info(ctx)
			return err
		})
	}
	if err != nil {
		return []error{s.failure(ctx, "look at the bucket", "", err)}
	}
	var all []error
	if n := info.Config.Replicas; n < enoughReplicas {
		all = append(all, fmt.Errorf("storage/nats: %s: the bucket has replicas: %d; it is lost with the disk of one server, and without sync_interval: always in that "+
			"server's configuration a power failure loses what was acknowledged in the two minutes before: give it three (nats stream edit --replicas 3)", s.place, n))
	}
	if info.Config.Storage == jetstream.MemoryStorage {
		all = append(all, fmt.Errorf("storage/nats: %s: the bucket is kept in memory alone: it is lost when its servers are restarted; make it one of file storage", s.place))
	}
	return all
}
