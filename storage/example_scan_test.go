package storage_test

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/everseal/everseal/storage"
)

// All records below a prefix, in two goes: the cursor of the last one that was seen is where the second begins.
func ExampleScan() {
	ctx, store := context.Background(), new(storage.Memory)
	for _, key := range []string{"certificates/a.example", "certificates/b.example", "certificates/c.example", "work/a.example"} {
		if _, err := store.Save(ctx, key, []byte("…"), ""); err != nil {
			fmt.Println(err)
		}
	}
	cursor, seen := "", 0
	for record, err := range storage.Scan(ctx, store, "certificates", cursor) {
		if err != nil || seen == 2 {
			break
		}
		cursor, seen = record.Cursor, seen+1
	}
	for _, err := range storage.Scan(ctx, store, "certificates", cursor) {
		if err == nil {
			seen++
		}
	}
	fmt.Println(seen)
	// Output: 3
}

// Changes are told as hints: the record itself says what is the case.
func ExampleWatcher() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var store storage.Store = new(storage.Memory)
	watcher, ok := storage.As[storage.Watcher](store)
	if !ok {
		fmt.Println("it has to be read again and again")
		return
	}
	changed := make(chan string)
	go func() {
		defer close(changed)
		for key, err := range watcher.Watch(ctx, "certificates") {
			if err != nil {
				return
			}
			changed <- key // the first one is empty: from then on nothing is missed
		}
	}()
	<-changed
	if _, err := store.Save(ctx, "certificates/example.com", []byte("…"), ""); err != nil {
		fmt.Println(err)
	}
	key := <-changed
	item, err := store.Load(ctx, key)
	fmt.Println(key, string(item.Value), err)
	cancel()
	<-changed
	// Output: certificates/example.com … <nil>
}

// A counting store counts what is saved, and leaves all else to the store that it wraps.
type counting struct {
	storage.Store
	saved int
}

func (c *counting) Save(ctx context.Context, key string, value []byte, old storage.Revision) (storage.Revision, error) {
	c.saved++
	return c.Store.Save(ctx, key, value, old)
}

func (c *counting) Unwrap() storage.Store { return c.Store }

// What a store can do besides is found through those that wrap it.
func ExampleAs() {
	store := &counting{Store: storage.Cached(new(storage.Memory), new(storage.Memory))}
	_, watches := storage.As[storage.Watcher](store)
	_, copies := storage.As[storage.Copies](store)
	_, knowsOwners := storage.As[storage.Owners](store)
	fmt.Println(watches, copies, knowsOwners)
	// Output: true true false
}

// A tests' store lives and ends with the process.
func ExampleMemory() {
	ctx := context.Background()
	var store storage.Memory // ready to use
	revision, err := store.Save(ctx, "names", []byte("example.com"), "")
	fmt.Println("saved:", err)
	fmt.Println("deleted:", store.Delete(ctx, "names", revision))
	fmt.Println("deleted again:", errors.Is(store.Delete(ctx, "names", revision), storage.ErrConflict))
	// Output:
	// saved: <nil>
	// deleted: <nil>
	// deleted again: true
}

// Keys from outside are checked before they are used.
func ExampleCheckKey() {
	fmt.Println(storage.CheckKey("certificates/*.example.com"))
	fmt.Println(storage.CheckKey("certificates/Example.com"))
	fmt.Println(errors.Is(storage.CheckKey("a//b"), storage.ErrInvalidKey), errors.Is(storage.CheckKey(strings.Repeat("a", storage.MaxKey+1)), storage.ErrInvalidKey))
	// Output:
	// <nil>
	// storage: invalid key: "certificates/Example.com": the byte "E" is not allowed, only a-z, 0-9, / and -._*:+=@~,
	// true true
}
