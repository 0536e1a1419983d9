package nats

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/enginetest"
)

// Buckets that would break the store's promises are refused by Open, with what to do about them.
func TestBucketsRefused(t *testing.T) {
	node := sharedServer(t)
	client := adminOf(t, node)
	origin := newTarget(t).open(t)
	tests := map[string]struct {
		spoil func(c *jetstream.StreamConfig)
		want  string
	}{
		"foreign":         {func(c *jetstream.StreamConfig) { c.Metadata = nil }, "not made for this library"},
		"another version": {func(c *jetstream.StreamConfig) { c.Metadata[metadataName] = "2" }, "another version"},
		"direct gets":     {func(c *jetstream.StreamConfig) { c.AllowDirect = true }, "allow_direct"},
		"mirror": {func(c *jetstream.StreamConfig) {
			c.Mirror, c.Subjects, c.FirstSeq, c.Discard = &jetstream.StreamSource{Name: origin.streamName()}, nil, 0, jetstream.DiscardOld
		}, "mirror"},
		"sources": {func(c *jetstream.StreamConfig) {
			c.Sources = []*jetstream.StreamSource{{Name: origin.streamName()}}
		}, "sources"},
		"history":       {func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 5 }, "max_msgs_per_subject"},
		"age":           {func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour }, "max_age"},
		"discards":      {func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld }, "discard be new"},
		"no ack":        {func(c *jetstream.StreamConfig) { c.NoAck = true }, "no_ack"},
		"asynchronous":  {func(c *jetstream.StreamConfig) { c.PersistMode = jetstream.AsyncPersistMode }, "persist_mode"},
		"small":         {func(c *jetstream.StreamConfig) { c.MaxMsgSize = 10_000 }, "max_msg_size"},
		"sequences":     {func(c *jetstream.StreamConfig) { c.FirstSeq = 0 }, "first_seq"},
		"other subject": {func(c *jetstream.StreamConfig) { c.Subjects = []string{"other." + c.Name + ".>"} }, "its subjects"},
		"no purges":     {func(c *jetstream.StreamConfig) { c.DenyPurge, c.AllowRollup = true, false }, "deny_purge"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			d := newTarget(t)
			_, bucket, _ := strings.Cut(d.url, "/tests-")
			like := &Store{bucket: "tests-" + bucket}
			config := like.newBucket(1)
			test.spoil(&config)
			if _, err := client.CreateStream(t.Context(), config); err != nil {
				t.Fatal(err)
			}
			s, err := Open(t.Context(), d.url, Config{})
			if err == nil {
				_ = s.Close()
			}
			wanted.Want(t, err, test.want, "bucket")
			given, err := New(client, Config{Bucket: like.bucket})
			if err != nil {
				t.Fatal(err)
			}
			defer given.Close()
			_, err = given.Save(t.Context(), "a", nil, "")
			wanted.Want(t, err, test.want)
			var broken *storage.ContractError
			if err := storage.Check(t.Context(), given); err == nil || errors.As(err, &broken) {
				t.Errorf("Check: %v", err)
			}
		})
	}
}

// A bucket that is deleted and made anew does not give a revision again.
func TestBucketMadeAnew(t *testing.T) {
	d := newTarget(t)
	s := d.open(t)
	client := adminOf(t, sharedServer(t))
	old, err := s.Save(t.Context(), "a", []byte("x"), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := client.DeleteStream(t.Context(), s.streamName()); err != nil {
		t.Fatal(err)
	}
	_, err = s.Save(t.Context(), "a", []byte("y"), old)
	wanted.Want(t, err, `save "a"`)
	again := d.open(t)
	revision, err := again.Save(t.Context(), "a", []byte("x"), "")
	if err != nil || revision == old {
		t.Fatalf("the revision %q comes again, %v", revision, err)
	}
	before, _ := versionOf(old)
	after, _ := versionOf(revision)
	if after.sequence <= before.sequence {
		t.Errorf("the sequence %d comes after %d", after.sequence, before.sequence)
	}
	if _, err := s.Save(t.Context(), "a", []byte("y"), old); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("Save with a revision of the bucket before: %v, want ErrConflict", err)
	}
}

// What is left of records that were deleted goes some time later, when a List or Scan comes across it.
func TestMarkersRemoved(t *testing.T) {
	s := newTarget(t).open(t)
	for _, key := range []string{"a/1", "a/2", "b/1"} {
		revision, err := s.Save(t.Context(), key, nil, "")
		if err == nil {
			err = s.Delete(t.Context(), key, revision)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	c, err := s.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	left := func() uint64 {
		info, err := c.handle.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return info.State.Msgs
	}
	for range s.List(t.Context(), "") {
		t.Error("there is a record")
	}
	if n := left(); n != 3 {
		t.Errorf("of fresh markers %d are left, want all 3", n)
	}
	s.markerAge = -time.Hour
	if _, err := s.Save(t.Context(), "a/2", []byte("again"), ""); err != nil {
		t.Fatal(err)
	}
	for range s.List(t.Context(), "a") {
	}
	enginetest.Until(t, func() (uint64, error) {
		if n := left(); n != 2 {
			return n, errors.New("there are other messages than a/2 and the marker of b/1")
		}
		return 2, nil
	})
	for _, key := range []string{"a/1", "b/1"} {
		if _, err := s.Save(t.Context(), key, nil, ""); err != nil {
			t.Errorf("Save of what was deleted: %v", err)
		}
	}
}

func TestWarnings(t *testing.T) {
	s := newTarget(t).open(t)
	warnings := s.Warnings(t.Context())
	if len(warnings) != 1 {
		t.Fatalf("warnings of a bucket with one replica: %v", warnings)
	}
	wanted.Want(t, warnings[0], "replicas: 1", "sync_interval: always")
}
