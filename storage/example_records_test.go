package storage_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/everseal/everseal/storage"
)

// All records go to another store, such as from a folder to a database, while nobody else is at work on either.
func ExampleScan() {
	ctx := context.Background()
	var former, next storage.Memory
	for _, key := range []string{"accounts/ca/default", "certificates/ca/example.com/ecdsa-p256"} {
		if _, err := former.Save(ctx, key, []byte("…"), ""); err != nil {
			fmt.Println(err)
		}
	}
	for record, err := range storage.Scan(ctx, &former, "", "") {
		if err == nil {
			_, err = next.Save(ctx, record.Key, record.Value, "")
		}
		fmt.Println(record.Key, err)
	}
	// Output:
	// accounts/ca/default <nil>
	// certificates/ca/example.com/ecdsa-p256 <nil>
}

// What is stored can't be read without the secret, which all machines of a fleet have.
func ExampleSealed() {
	ctx := context.Background()
	secret := make([]byte, 32) // of crypto/rand, and kept where the machines' other secrets are
	keys, err := storage.SealingKeys(secret)
	if err != nil {
		fmt.Println(err)
		return
	}
	var outside storage.Memory // or a database
	store := &storage.Sealed{Store: &outside, Keys: keys}
	if _, err := store.Save(ctx, "accounts/ca/default", []byte("a private key"), ""); err != nil {
		fmt.Println(err)
	}
	inside, err := store.Load(ctx, "accounts/ca/default")
	fmt.Printf("%s %v\n", inside.Value, err)
	stored, err := outside.Load(ctx, "accounts/ca/default")
	fmt.Println("readable outside:", string(stored.Value) == "a private key", err)
	// Output:
	// a private key <nil>
	// readable outside: false <nil>
}

// Whoever has other work tries once, and hears when to try again.
func ExampleClaim() {
	ctx := context.Background()
	var store storage.Memory
	first, err := (&storage.Claim{Store: &store, Key: "work/example.com", Term: time.Minute}).Try(ctx)
	fmt.Println("the first:", err)

	second := &storage.Claim{Store: &store, Key: "work/example.com", Term: time.Minute}
	_, err = second.Try(ctx)
	held, isHeld := errors.AsType[*storage.HeldError](err)
	fmt.Println("the second may have to wait:", isHeld && held.RetryAfter > 0)

	if err := first.Release(ctx); err != nil {
		fmt.Println(err)
	}
	lease, err := second.Try(ctx)
	fmt.Println("after that:", err)
	if err := lease.Release(ctx); err != nil {
		fmt.Println(err)
	}
	// Output:
	// the first: <nil>
	// the second may have to wait: true
	// after that: <nil>
}

// A store that is a Watcher says which keys to read again.
func ExampleWatcher() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var store storage.Memory
	watcher, ok := storage.As[storage.Watcher](&store)
	if !ok {
		fmt.Println("it is read now and then, see storage.Scan")
		return
	}
	for key, err := range watcher.Watch(ctx, "certificates") {
		switch {
		case err != nil:
			fmt.Println(err)
		case key == "": // it listens from now on
			if _, err := store.Save(ctx, "certificates/ca/example.com/ecdsa-p256", []byte("…"), ""); err != nil {
				fmt.Println(err)
			}
		default:
			item, err := store.Load(ctx, key)
			fmt.Println(key, string(item.Value), err)
			return
		}
	}
	// Output: certificates/ca/example.com/ecdsa-p256 … <nil>
}
