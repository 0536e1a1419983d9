package s3

import (
	"context"
	"errors"
	"iter"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/everseal/everseal/storage"
)

// An entry is what a listing says of a record, or of a tombstone.
type entry struct {
	key  string
	etag string
	live bool
}

// readAhead is how many records Scan reads at once.
const readAhead = 16

// List yields the keys that are prefix or lie below it; see [storage.Store]. It is one LIST for each thousand of them, and
// of tombstones among them.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := storage.AdmitPrefix(ctx, prefix); err != nil {
			yield("", err)
			return
		}
		for e, err := range s.entries(ctx, prefix, "") {
			switch {
			case err != nil:
				yield("", s.failure(ctx, "list", prefix, err))
				return
			case e.live && !yield(e.key, nil):
				return
			}
		}
	}
}

// Scan yields the records that are prefix or lie below it; see [storage.Scanner]. Besides what List costs it is one GET for
// each, of which some are under way at once. Cursors are keys.
func (s *Store) Scan(ctx context.Context, prefix, cursor string) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		if err := storage.AdmitPrefix(ctx, prefix); err != nil {
			yield(storage.Record{}, err)
			return
		}
		if storage.CheckKey(cursor) != nil || !storage.Within(cursor, prefix) {
			cursor = ""
		}
		if err := s.scan(ctx, prefix, cursor, yield); err != nil {
			yield(storage.Record{}, s.failure(ctx, "scan", prefix, err))
		}
	}
}

// A fetch is a GET that is under way.
type fetch struct {
	key   string
	done  chan struct{} // closed when the rest is there
	found object
	err   error
}

// scan returns nil if the caller wants no more.
func (s *Store) scan(ctx context.Context, prefix, cursor string, yield func(storage.Record, error) bool) error {
	reading, stop := context.WithCancel(ctx)
	var queue []*fetch
	defer func() {
		stop()
		for _, r := range queue {
			<-r.done
		}
	}()
	take := func() (more bool, err error) {
		r := queue[0]
		<-r.done
		queue = queue[1:]
		if err := ctx.Err(); err != nil {
			return false, err
		}
		record := storage.Record{Key: r.key, Cursor: r.key}
		switch {
		case errors.Is(r.err, errForeign) || errors.Is(r.err, errVersion) || errors.Is(r.err, errReplica):
			return yield(record, s.failure(ctx, "load", r.key, r.err)), nil
		case r.err != nil:
			return false, r.err
		case !r.found.live:
			return true, nil // it has been deleted meanwhile
		}
		record.Item = storage.Item{Value: r.found.value, Revision: r.found.etag}
		return yield(record, nil), nil
	}
	for e, err := range s.entries(ctx, prefix, cursor) {
		if err != nil {
			return err
		}
		if !e.live {
			continue
		}
		if len(queue) == readAhead {
			if more, err := take(); !more || err != nil {
				return err
			}
		}
		queue = append(queue, s.begin(reading, e.key))
	}
	for len(queue) > 0 {
		if more, err := take(); !more || err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (s *Store) begin(ctx context.Context, key string) *fetch {
	r := &fetch{key: key, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.found, r.err = s.get(ctx, s.name(key))
	}()
	return r
}

// entries yields what is at and below the prefix, in the order of names, after the cursor's. Names are listed by what they
// begin with, so those of "a" begin as those of "a-b", which come between "a" and "a/b". A page that ends there is followed
// by a listing of the folder.
func (s *Store) entries(ctx context.Context, prefix, cursor string) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		begin, folder := s.prefix+encode(prefix), s.prefix
		if prefix != "" {
			folder = begin + "/"
		}
		input := &s3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: &begin}
		if cursor != "" {
			input.StartAfter = aws.String(s.name(cursor))
		}
		for {
			page, err := s.client.ListObjectsV2(ctx, input, s.extra...)
			if err == nil && page.Name == nil {
				err = errListing
			}
			if err != nil {
				yield(entry{}, err)
				return
			}
			last := ""
			for i := range page.Contents {
				object := &page.Contents[i]
				if object.Key == nil || object.Size == nil || object.ETag == nil {
					yield(entry{}, errListing)
					return
				}
				last = *object.Key
				key := s.key(last)
				if key == "" || !storage.Within(key, prefix) {
					continue
				}
				if !yield(entry{key, *object.ETag, *object.Size >= int64(recordHeader)}, nil) {
					return
				}
			}
			switch {
			case !aws.ToBool(page.IsTruncated) || last > folder[:len(folder)-1]+"0" && prefix != "":
				return // what begins with the folder's name ends before the same with 0 in place of /
			case begin+nameEnd < last && last < folder:
				input = &s3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: &folder}
			case aws.ToString(page.NextContinuationToken) == "" || aws.ToString(page.NextContinuationToken) == aws.ToString(input.ContinuationToken):
				yield(entry{}, errListing)
				return
			default:
				input = &s3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: input.Prefix, ContinuationToken: page.NextContinuationToken}
			}
		}
	}
}
