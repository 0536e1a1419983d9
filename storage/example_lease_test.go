package storage_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/everseal/everseal/storage"
)

// One that has other work does not wait for a lease: it learns when to try again.
func ExampleClaim() {
	ctx, store := context.Background(), new(storage.Memory)
	first := storage.Claim{Store: store, Key: "work/example.com", Term: time.Minute}
	lease, err := first.Try(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	second := storage.Claim{Store: store, Key: "work/example.com", Term: time.Minute}
	_, err = second.Try(ctx)
	if held, ok := errors.AsType[*storage.HeldError](err); ok {
		fmt.Println(held.Key, "is held; try again later:", held.RetryAfter > 0)
	}
	if err := lease.SaveAndRelease(ctx, []byte("half done")); err != nil {
		fmt.Println(err)
	}
	lease, err = second.Try(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer lease.Release(ctx)
	fmt.Printf("holder %d finds %q\n", lease.Fence(), lease.Value())
	// Output:
	// work/example.com is held; try again later: true
	// holder 2 finds "half done"
}

// Work runs under the lease's context, which ends when the lease is lost: here somebody deletes its record.
func ExampleLease() {
	ctx, store := context.Background(), new(storage.Memory)
	lease, err := storage.Acquire(ctx, store, "work/example.com", time.Minute)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer lease.Release(ctx)
	fmt.Println("at work:", lease.Context().Err() == nil)

	item, err := store.Load(ctx, "work/example.com")
	if err == nil {
		err = store.Delete(ctx, "work/example.com", item.Revision)
	}
	fmt.Println("deleted:", err)
	err = lease.Save(ctx, []byte("done"))
	<-lease.Context().Done()
	fmt.Println("lost:", errors.Is(err, storage.ErrLost), errors.Is(context.Cause(lease.Context()), storage.ErrLost))
	// Output:
	// at work: true
	// deleted: <nil>
	// lost: true true
}

// What a lease carries can be seen without taking it.
func ExampleLeaseValue() {
	ctx, store := context.Background(), new(storage.Memory)
	lease, err := storage.Acquire(ctx, store, "work/example.com", time.Minute)
	if err == nil {
		err = lease.Save(ctx, []byte("half done"))
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	defer lease.Release(ctx)
	item, err := store.Load(ctx, "work/example.com")
	if err != nil {
		fmt.Println(err)
		return
	}
	value, held, err := storage.LeaseValue(item.Value)
	fmt.Printf("%q, held: %v, %v\n", value, held, err)
	// Output: "half done", held: true, <nil>
}
