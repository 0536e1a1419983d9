package nats_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/nats"
)

// A member of a fleet takes a lease, and hears of what others change.
func Example() {
	ctx := context.Background()
	store, err := nats.Open(ctx, "nats://n1.example.com,n2.example.com,n3.example.com/certificates?creds=/etc/program.creds&inbox=_INBOX_program", nats.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	if err := storage.Check(ctx, store); err != nil {
		log.Fatal(err)
	}
	lease, err := storage.Acquire(ctx, store, "work/example.com", time.Minute)
	if err != nil {
		log.Fatal(err)
	}
	defer lease.Release(ctx)
	for key, err := range store.Watch(lease.Context(), "certificates") {
		if err != nil {
			log.Print(err)
			break
		}
		fmt.Println("changed:", key)
	}
}

// Open says what a URL lacks, without quoting it.
func ExampleOpen() {
	_, err := nats.Open(context.Background(), "nats://program:pass/word@nats.example.com/certificates", nats.Config{})
	fmt.Println(err)
	// Output:
	// storage/nats: the URL can't be read: it is like nats://user:password@host1:4222,host2:4222/bucket?ca=/etc/ca.pem, with characters such as @ : / ? # % in a password written as %40 %3A %2F %3F %23 %25
}
