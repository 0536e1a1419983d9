package storage_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/everseal/everseal/storage"
)

// Values are encrypted before another store gets them. Secrets come from where the program has its others, such as systemd's
// credentials; these are no secrets.
func ExampleSealed() {
	ctx, inner := context.Background(), new(storage.Memory)
	secret := bytes.Repeat([]byte{1}, 32)
	keys, err := storage.SealingKeys(secret)
	if err != nil {
		fmt.Println(err)
		return
	}
	store := &storage.Sealed{Store: inner, Keys: keys} // goes to certmanager.Config.Storage, for one
	if _, err := store.Save(ctx, "certificates/example.com", []byte("-----BEGIN PRIVATE KEY…"), ""); err != nil {
		fmt.Println(err)
	}
	kept, err := inner.Load(ctx, "certificates/example.com")
	fmt.Println("readable below:", bytes.Contains(kept.Value, []byte("PRIVATE")), err)
	opened, err := store.Load(ctx, "certificates/example.com")
	fmt.Println(string(opened.Value), err)
	// Output:
	// readable below: false <nil>
	// -----BEGIN PRIVATE KEY… <nil>
}

// A new secret takes the place of an old one: it comes first, all records are sealed anew, and the old one can go.
func ExampleSealingKeys() {
	ctx, inner := context.Background(), new(storage.Memory)
	old, fresh := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	with := func(secrets ...[]byte) *storage.Sealed {
		keys, err := storage.SealingKeys(secrets...)
		if err != nil {
			panic(err)
		}
		return &storage.Sealed{Store: inner, Keys: keys}
	}
	if _, err := with(old).Save(ctx, "account", []byte("…"), ""); err != nil {
		fmt.Println(err)
	}
	_, err := with(fresh).Load(ctx, "account")
	fmt.Println("needs the old one:", errors.Is(err, storage.ErrSealed))
	_, err = with(fresh, old).Rekey(ctx, "")
	fmt.Println("sealed anew:", err)
	_, err = with(fresh).Load(ctx, "account")
	fmt.Println("without the old one:", err)
	// Output:
	// needs the old one: true
	// sealed anew: <nil>
	// without the old one: <nil>
}
