package s3_test

import (
	"context"
	"fmt"
	"time"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/s3"
)

// Two processes share a bucket, and a lease in it.
func Example() {
	bucketURL, stop := s3.StartService() // in place of s3://KEY:SECRET@bucket/prefix?region=eu-central-1
	defer stop()
	ctx := context.Background()
	store, err := s3.Open(ctx, bucketURL, s3.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()

	if err := storage.Check(ctx, store); err != nil {
		fmt.Println(err)
	}
	for range 2 {
		lease, err := storage.Acquire(ctx, store, "work/example.com", 30*time.Second)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("holder %d finds %q\n", lease.Fence(), lease.Value())
		if err := lease.Save(ctx, fmt.Appendf(nil, "left by %d", lease.Fence())); err != nil {
			fmt.Println(err)
		}
		if err := lease.Release(ctx); err != nil {
			fmt.Println(err)
		}
	}
	for record, err := range store.Scan(ctx, "work", "") {
		fmt.Println(record.Key, err)
	}
	// Output:
	// holder 1 finds ""
	// holder 2 finds "left by 1"
	// work/example.com <nil>
}

// A program has a client of its own.
func ExampleNew() {
	client := awss3.New(awss3.Options{Region: "eu-central-1"}) // or awss3.NewFromConfig
	store, err := s3.New(client, s3.Config{Bucket: "certificates", PollInterval: 5 * time.Minute})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
}

// Other members of a fleet learn of a certificate by a poll.
func ExampleStore_Watch() {
	bucketURL, stop := s3.StartService()
	defer stop()
	ctx := context.Background()
	store, err := s3.Open(ctx, bucketURL, s3.Config{PollInterval: time.Second}) // the URL says 20ms
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	for key, err := range store.Watch(ctx, "certificates") {
		switch {
		case err != nil:
			fmt.Println(err)
			return
		case key == "": // it listens
			if _, err := store.Save(ctx, "certificates/example.com", []byte("a certificate"), ""); err != nil {
				fmt.Println(err)
				return
			}
		default:
			fmt.Println(key)
			return
		}
	}
	// Output: certificates/example.com
}
