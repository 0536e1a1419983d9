package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/everseal/everseal/storage"
)

// A Config says where records are. For [Open] its zero value suffices; what the URL says comes first.
type Config struct {
	// Bucket is the bucket's name, or the alias of an access point. It must be there.
	Bucket string

	// Prefix is the folder in the bucket that the records are in; "everseal" if it is empty. It is as a key is, of at
	// most 200 bytes, and must not be in the folder of another store, nor have others in it.
	Prefix string

	// PollInterval is how often Watch lists the records; a minute if it is zero. What that costs is in the package's
	// documentation.
	PollInterval time.Duration

	// ConditionalDelete says that the service evaluates If-Match of a DELETE, in one step with the deletion. At AWS it
	// does, without being asked to. Elsewhere a tombstone stays of what is deleted unless this is set. Services that
	// look first and delete then lose records that were saved in between.
	ConditionalDelete bool
}

// A Store is a [storage.Store], a [storage.Scanner] and a [storage.Watcher] in a bucket. [Open] and [New] make one. Its
// methods are safe for concurrent use, and obey their context.
//
// An error that is none of those that storage.Store names says what failed, where, and with which key, and wraps the
// SDK's. It has no secret key in it.
type Store struct {
	client            *s3.Client
	bucket            string
	prefix            string // with a / at its end
	address           string // of the service; empty for AWS
	poll              time.Duration
	conditionalDelete bool
	extra             []func(*s3.Options) // of each request
	close             func()              // ends connections; nil if the client was given
	checked           *atomic.Bool        // the service was found to evaluate conditions
	turn              chan struct{}       // full while somebody checks
}

// New returns a store that uses the client, which its owner goes on to own. It asks nothing of the service yet. The
// client's credentials, retries and connections are used as they are; it should have at most some dozen connections.
func New(client *s3.Client, c Config) (*Store, error) {
	if client == nil {
		return nil, errors.New("storage/s3: the client is nil: give one, such as s3.NewFromConfig makes")
	}
	prefix := c.Prefix
	if prefix == "" {
		prefix = "everseal"
	}
	if err := storage.CheckKey(prefix); err != nil || len(prefix) > maxSegment {
		return nil, fmt.Errorf("storage/s3: the prefix %.80q can't be: it is as a key is, of at most %d bytes", prefix, maxSegment)
	}
	switch {
	case !isBucket(c.Bucket):
		return nil, fmt.Errorf("storage/s3: the bucket %.80q can't be: names have lower-case letters, digits, hyphens and points", c.Bucket)
	case strings.HasSuffix(c.Bucket, "--x-s3"):
		return nil, fmt.Errorf("storage/s3: %.80q is a directory bucket, which lists in no order: use one for general purposes", c.Bucket)
	case c.PollInterval < 0:
		return nil, fmt.Errorf("storage/s3: the poll interval %v is negative", c.PollInterval)
	case c.PollInterval == 0:
		c.PollInterval = time.Minute
	}
	s := &Store{
		client: client, bucket: c.Bucket, prefix: prefix + "/", poll: c.PollInterval, conditionalDelete: c.ConditionalDelete,
		checked: new(atomic.Bool), turn: make(chan struct{}, 1),
	}
	s.extra = []func(*s3.Options){func(o *s3.Options) {
		// Checksums in trailers are what other services than AWS don't know.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	}}
	s.suit(client.Options().BaseEndpoint)
	return s, nil
}

// suit notes what is known of the service at the endpoint.
func (s *Store) suit(endpoint *string) {
	if endpoint != nil {
		s.address = hostOf(*endpoint)
	}
	host := strings.ToLower(s.address)
	if host == "" || isWithin(host, "amazonaws.com") || isWithin(host, "amazonaws.com.cn") {
		s.conditionalDelete = true
	}
	if isWithin(host, "tigris.dev") || isWithin(host, "storage.dev") {
		// Else it answers from the nearest copy.
		s.extra = append(s.extra, s3.WithAPIOptions(smithyhttp.AddHeaderValue("X-Tigris-Consistent", "true")))
	}
}

func isWithin(host, domain string) bool {
	if name, _, found := strings.Cut(host, ":"); found {
		host = name
	}
	return host == domain || strings.HasSuffix(host, "."+domain)
}

func isBucket(name string) bool {
	return len(name) >= 3 && len(name) <= 63 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-.") == "" && name[0] != '-' && name[0] != '.'
}

// Close ends the connections of a store that [Open] has made. A client that was given is its owner's.
func (s *Store) Close() error {
	if s.close != nil {
		s.close()
	}
	return nil
}

// Load returns what is stored under key; see [storage.Store]. It is one GET.
func (s *Store) Load(ctx context.Context, key string) (storage.Item, error) {
	if err := storage.Admit(ctx, key, nil); err != nil {
		return storage.Item{}, err
	}
	found, err := s.get(ctx, s.name(key))
	if err != nil {
		return storage.Item{}, s.failure(ctx, "load", key, err)
	}
	if !found.live {
		return storage.Item{}, storage.NotExist(key)
	}
	return storage.Item{Value: found.value, Revision: found.etag}, nil
}

// Save stores value under key if the stored revision is old; see [storage.Store]. It is one PUT, and three if there is a
// tombstone of the key. The first Save or Delete of a Store tries out first whether the service evaluates conditions.
func (s *Store) Save(ctx context.Context, key string, value []byte, old storage.Revision) (storage.Revision, error) {
	if err := storage.Admit(ctx, key, value); err != nil {
		return "", err
	}
	if old != "" && !isRevision(old) {
		return "", storage.Conflict(key) // as it never was one
	}
	if err := s.check(ctx); err != nil {
		return "", s.failure(ctx, "save", key, err)
	}
	body, nonce := newRecord(value)
	revision, err := s.swap(ctx, change{key: key, body: body, nonce: nonce, old: old})
	if err != nil && !errors.Is(err, storage.ErrConflict) {
		return "", s.failure(ctx, "save", key, err)
	}
	return revision, err
}

// Delete removes key if the stored revision is old; see [storage.Store]. It is a PUT of a tombstone, which takes the
// record's place, and a DELETE of the tombstone by its ETag where that can be done.
func (s *Store) Delete(ctx context.Context, key string, old storage.Revision) error {
	if err := storage.Admit(ctx, key, nil); err != nil {
		return err
	}
	if !isRevision(old) {
		return storage.Conflict(key)
	}
	if err := s.check(ctx); err != nil {
		return s.failure(ctx, "delete", key, err)
	}
	body, nonce := newTombstone()
	tombstone, err := s.swap(ctx, change{key: key, body: body, nonce: nonce, old: old})
	switch {
	case errors.Is(err, storage.ErrConflict):
		return err
	case err != nil:
		return s.failure(ctx, "delete", key, err)
	}
	if s.conditionalDelete {
		_ = s.remove(ctx, s.name(key), tombstone) // the record is gone; the tombstone may stay
	}
	return nil
}

// get returns the object of that name as the service has it, or the zero object if there is none.
func (s *Store) get(ctx context.Context, name string) (object, error) {
	body, etag, err := s.read(ctx, name)
	if err != nil || etag == "" {
		return object{}, err
	}
	found, err := parse(body)
	found.etag = etag
	return found, err
}

// readOnce returns what an object has, and no ETag if there is none.
func (s *Store) readOnce(ctx context.Context, name string) ([]byte, storage.Revision, error) {
	out, err := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.bucket, Key: &name}, s.extra...)
	if err != nil {
		if answerOf(err).isNoSuchKey() {
			err = nil
		}
		return nil, "", err
	}
	defer out.Body.Close()
	if raw, ok := awsmiddleware.GetRawResponse(out.ResultMetadata).(*smithyhttp.Response); ok && raw.Header.Get("Age") != "" {
		return nil, "", errCache
	}
	if out.ReplicationStatus == types.ReplicationStatusReplica {
		return nil, "", errReplica
	}
	etag, err := revisionOf(out.ETag)
	if err != nil {
		return nil, "", err
	}
	body, err := io.ReadAll(io.LimitReader(out.Body, int64(maxObject)+1))
	if err != nil {
		return nil, "", err
	}
	if len(body) > maxObject {
		return nil, "", errForeign
	}
	return body, etag, nil
}

// put writes an object if the stored one has the ETag, or, if that is empty, there is none. It is one request, which the
// SDK does not repeat: who repeats it has to know.
func (s *Store) put(ctx context.Context, name string, body []byte, old storage.Revision) (storage.Revision, error) {
	input := &s3.PutObjectInput{
		Bucket: &s.bucket, Key: &name, Body: bytes.NewReader(body),
		ContentLength: aws.Int64(int64(len(body))), ContentType: aws.String("application/octet-stream"),
	}
	if old == "" {
		input.IfNoneMatch = aws.String("*")
	} else {
		input.IfMatch = aws.String(`"` + string(old) + `"`)
	}
	out, err := s.client.PutObject(ctx, input, append(s.extra[:len(s.extra):len(s.extra)], once)...)
	if err != nil {
		return "", err
	}
	return revisionOf(out.ETag)
}

// remove deletes an object that has the ETag.
func (s *Store) remove(ctx context.Context, name string, old storage.Revision) error {
	input := &s3.DeleteObjectInput{Bucket: &s.bucket, Key: &name, IfMatch: aws.String(`"` + string(old) + `"`)}
	_, err := s.client.DeleteObject(ctx, input, append(s.extra[:len(s.extra):len(s.extra)], once)...)
	return err
}

// once has the SDK try a request once.
func once(o *s3.Options) { o.Retryer = aws.NopRetryer{} }
