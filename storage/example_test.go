package storage_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

func ExampleStore() {
	ctx := context.Background()
	var store storage.Store = new(storage.Memory)

	_, err := store.Load(ctx, "account")
	fmt.Println("absent:", errors.Is(err, fs.ErrNotExist))

	created, err := store.Save(ctx, "account", []byte("first"), "")
	fmt.Println("created:", err)
	_, err = store.Save(ctx, "account", []byte("second"), "")
	fmt.Println("created again:", errors.Is(err, storage.ErrConflict))
	_, err = store.Save(ctx, "account", []byte("second"), created)
	fmt.Println("replaced:", err)
	// Output:
	// absent: true
	// created: <nil>
	// created again: true
	// replaced: <nil>
}

func ExampleUpdate() {
	ctx := context.Background()
	var store storage.Memory
	for _, name := range []string{"example.com", "example.net"} {
		_, err := storage.Update(ctx, &store, "names", func(old []byte) ([]byte, error) {
			return append(old, name+" "...), nil
		})
		if err != nil {
			fmt.Println(err)
			return
		}
	}
	item, err := store.Load(ctx, "names")
	fmt.Printf("%s%v\n", item.Value, err)
	// Output: example.com example.net <nil>
}

func ExampleStore_list() {
	ctx := context.Background()
	var store storage.Memory
	for _, key := range []string{"work/example.com", "work/example.com/plan", "work/example.community"} {
		if _, err := store.Save(ctx, key, nil, ""); err != nil {
			fmt.Println(err)
			return
		}
	}
	for key, err := range store.List(ctx, "work/example.com") {
		fmt.Println(key, err)
	}
	// Unordered output:
	// work/example.com <nil>
	// work/example.com/plan <nil>
}

func ExampleAcquire() {
	ctx := context.Background()
	var store storage.Memory
	for range 3 {
		lease, err := storage.Acquire(ctx, &store, "work/example.com", 30*time.Second)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("holder %d finds %q\n", lease.Fence(), lease.Value())
		if err := lease.Save(ctx, fmt.Appendf(lease.Value(), "step %d; ", lease.Fence())); err != nil {
			fmt.Println(err)
		}
		if err := lease.Release(ctx); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// holder 1 finds ""
	// holder 2 finds "step 1; "
	// holder 3 finds "step 1; step 2; "
}

// An ordinary store, and one on the disk of this machine for the time when that is down.
func ExampleCached() {
	ctx, remote := context.Background(), new(storagetest.Faulty)
	store := storage.Cached(remote, new(storage.Memory)) // or storage.Dir("/var/cache/example")
	if _, err := store.Save(ctx, "certificates/example.com", []byte("-----BEGIN …"), ""); err != nil {
		fmt.Println(err)
	}
	remote.SetFaults(storagetest.Fault{Kind: storagetest.Fail})
	_, err := store.Load(ctx, "certificates/example.com")
	fmt.Println(err)
	found, err := store.LoadCopy(ctx, "certificates/example.com")
	fmt.Println(string(found.Value), err)
	// Output:
	// storagetest: the store is made to fail
	// -----BEGIN … <nil>
}

func ExampleDir() {
	folder, err := os.MkdirTemp("", "everseal")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(folder)

	ctx := context.Background()
	store := storage.Dir(folder)
	if _, err := store.Save(ctx, "certificates/*.example.com", []byte("-----BEGIN …"), ""); err != nil {
		fmt.Println(err)
	}
	for key, err := range store.List(ctx, "certificates") {
		fmt.Println(key, err)
	}
	_, err = store.Load(ctx, "../../etc/passwd")
	fmt.Println(err)
	// Output:
	// certificates/*.example.com <nil>
	// storage: invalid key: "../../etc/passwd" has the segment ".."
}
