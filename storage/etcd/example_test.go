package etcd_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/etcd"
)

// A member of a fleet takes a lease. If it is killed, others have the lease when etcd has not heard of it for ten seconds.
func Example() {
	ctx := context.Background()
	store, err := etcd.Open(ctx, "etcd://program:password@etcd1.example.com,etcd2.example.com,etcd3.example.com/certificates?session=10s", etcd.Config{})
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

// Open says what a URL lacks, without quoting it, and asks nothing of the cluster yet.
func ExampleOpen() {
	for _, url := range []string{
		"etcd://program@etcd.example.com/certificates",
		"etcd://program:pass/word@etcd.example.com/certificates",
		"etcd://program:pass%2Fword@etcd.example.com/certificates",
	} {
		store, err := etcd.Open(context.Background(), url, etcd.Config{})
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println("open")
		store.Close()
	}
	// Output:
	// storage/etcd: the URL has a user without a password: give it, or leave the user to the common name of a client certificate (cert, key)
	// storage/etcd: the URL can't be read: it is like etcd://user:password@host1:2379,host2:2379/prefix?ca=/etc/ca.pem, with characters such as @ : / ? # % in a password written as %40 %3A %2F %3F %23 %25
	// open
}
