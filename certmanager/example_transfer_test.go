package certmanager_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"log"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// A certificate that another program has obtained, here another manager, is served until it is time to replace it.
func ExampleTransfer() {
	former, stopFormer := runLocally(certmanager.Config{Names: []string{"www.internal"}})
	defer stopFormer()
	ctx := context.Background()
	chain, key, err := former.Export(ctx, "www.internal")
	if err != nil {
		log.Fatal(err)
	}
	m, stop := runLocally(certmanager.Config{})
	defer stop()
	for range 2 { // again is no error
		taken, err := m.Transfer(ctx, certmanager.Transfer{Certificate: chain, Key: key, Manage: true})
		fmt.Println(taken.Names, taken.KeyType, "changed:", taken.Changed, err)
	}
	_, serves := m.Certificate("www.internal")
	fmt.Println("served:", serves)
	// Output:
	// [www.internal] ecdsa-p256 changed: true <nil>
	// [www.internal] ecdsa-p256 changed: false <nil>
	// served: true
}

// The account that another program has registered is used further, with its limits and what it has proved. The CA is not asked.
func ExampleAccount_Transfer() {
	ctx := context.Background()
	m, err := certmanager.New(certmanager.Config{AgreeToTerms: true, Storage: new(storage.Memory)})
	if err != nil {
		log.Fatal(err)
	}
	account, err := m.Account("")
	if err != nil {
		log.Fatal(err)
	}
	for range 2 {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader) // in practice read from the other program's files
		if err != nil {
			log.Fatal(err)
		}
		changed, err := account.Transfer(ctx, certmanager.AccountTransfer{Key: key})
		fmt.Println(changed, errors.Is(err, certmanager.ErrOtherAccount))
	}
	// Output:
	// true false
	// false true
}
