package s3

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/everseal/everseal/storage"
)

// A raw is what the SDK does alone.
type raw struct {
	*s3.Client
	prefix string
}

func (r raw) get(ctx context.Context, name string) error {
	out, err := r.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String(r.prefix + name)})
	if err != nil {
		return err
	}
	defer out.Body.Close()
	_, err = io.ReadAll(out.Body)
	return err
}

// put writes over the ETag and returns the new one.
func (r raw) put(ctx context.Context, name string, body []byte, etag *string) (*string, error) {
	out, err := r.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String(r.prefix + name), Body: bytes.NewReader(body), IfMatch: etag})
	if err != nil {
		return nil, err
	}
	return out.ETag, nil
}

// list calls each with the names below a folder.
func (r raw) list(ctx context.Context, folder string, each func(name string)) (n int, err error) {
	pages := s3.NewListObjectsV2Paginator(r.Client, &s3.ListObjectsV2Input{Bucket: aws.String(bucket), Prefix: aws.String(r.prefix + folder)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return n, err
		}
		for _, object := range page.Contents {
			each((*object.Key)[len(r.prefix):])
			n++
		}
	}
	return n, nil
}

// scan reads all objects below a folder, as many at once as a store does.
func (r raw) scan(ctx context.Context, folder string) (n int, err error) {
	names := make(chan string)
	errs := make([]error, readAhead)
	var readers sync.WaitGroup
	for i := range readAhead {
		readers.Go(func() {
			for name := range names {
				if err := r.get(ctx, name); err != nil {
					errs[i] = err
				}
			}
		})
	}
	n, err = r.list(ctx, folder, func(name string) { names <- name })
	close(names)
	readers.Wait()
	for _, failed := range errs {
		if failed != nil {
			return n, failed
		}
	}
	return n, err
}

// BenchmarkStore compares what a store does with the same requests through the SDK alone.
func BenchmarkStore(b *testing.B) {
	s := realTarget(b).open(b)
	ctx, r := b.Context(), raw{s.client, s.prefix}
	value := make([]byte, 8<<10)
	revision, err := s.Save(ctx, "one", value, "")
	if err != nil {
		b.Fatal(err)
	}
	etag, err := r.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String(s.prefix + "raw"), Body: bytes.NewReader(value)})
	if err != nil {
		b.Fatal(err)
	}
	fill(b, s, value)
	run := func(name string, f func() error) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	want := func(n, records int, err error) error {
		if err == nil && n != records {
			return fmt.Errorf("%d records, want %d", n, records)
		}
		return err
	}
	run("Load/store", func() error { _, err := s.Load(ctx, "one"); return err })
	run("Load/driver", func() error { return r.get(ctx, "raw") })
	run("Save/store", func() (err error) { revision, err = s.Save(ctx, "one", value, revision); return err })
	run("Save/driver", func() (err error) { etag.ETag, err = r.put(ctx, "raw", value, etag.ETag); return err })
	run("List1000/store", func() error {
		n := 0
		for _, err := range s.List(ctx, "list") {
			if n++; err != nil {
				return err
			}
		}
		return want(n, 1000, nil)
	})
	run("List1000/driver", func() error { n, err := r.list(ctx, "list/", func(string) {}); return want(n, 1000, err) })
	run("Scan10000/store", func() error {
		n := 0
		for _, err := range s.Scan(ctx, "scan", "") {
			if n++; err != nil {
				return err
			}
		}
		return want(n, 10_000, nil)
	})
	run("Scan10000/driver", func() error { n, err := r.scan(ctx, "scan/"); return want(n, 10_000, err) })
	benchmarkLease(b, s, r)
}

// fill saves what is listed and scanned.
func fill(b *testing.B, s *Store, value []byte) {
	var writers sync.WaitGroup
	for w := range readAhead {
		writers.Go(func() {
			for i := w; i < 11_000; i += readAhead {
				key := fmt.Sprintf("scan/%d", i-1000)
				if i < 1000 {
					key = fmt.Sprintf("list/%d", i)
				}
				if _, err := s.Save(b.Context(), key, value, ""); err != nil {
					b.Error(err)
				}
			}
		})
	}
	writers.Wait()
}

// benchmarkLease compares a lease that is acquired and released with a GET and two PUTs.
func benchmarkLease(b *testing.B, s *Store, r raw) {
	ctx := b.Context()
	acquire := func() error {
		lease, err := storage.Acquire(ctx, s, "lease", time.Minute)
		if err != nil {
			return err
		}
		return lease.Release(ctx)
	}
	if err := acquire(); err != nil {
		b.Fatal(err)
	}
	b.Run("Lease/store", func(b *testing.B) {
		for b.Loop() {
			if err := acquire(); err != nil {
				b.Fatal(err)
			}
		}
	})
	item, err := s.Load(ctx, "lease")
	if err != nil {
		b.Fatal(err)
	}
	etag := aws.String(`"` + string(item.Revision) + `"`)
	b.Run("Lease/driver", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if err := r.get(ctx, "lease!"); err != nil {
				b.Fatal(err)
			}
			for range 2 {
				if etag, err = r.put(ctx, "lease!", append(item.Value, byte(i)), etag); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}
