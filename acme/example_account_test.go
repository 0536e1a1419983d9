package acme_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"log"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
)

// An account at a CA that makes them only for its customers (external account binding). The key and its
// identifier come from the customer's page at the CA.
func ExampleClient_Register_externalAccount() {
	ca := acmetest.NewUnstartedServer()
	ca.ExternalAccounts = map[string][]byte{"customer-17": []byte("known to the CA and to customer 17 only")}
	ca.StartInMemory()
	defer ca.Close()

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	macKey, err := acme.ParseMACKey("a25vd24gdG8gdGhlIENBIGFuZCB0byBjdXN0b21lciAxNyBvbmx5")
	if err != nil {
		log.Fatal(err)
	}

	ctx := context.Background()
	client := &acme.Client{DirectoryURL: ca.URL, HTTPClient: ca.Client(), Key: key}
	directory, err := client.GetDirectory(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("needs an external account:", directory.Meta.ExternalAccountRequired)
	account, err := client.Register(ctx, acme.Registration{
		Contact:         []string{"mailto:admin@example.com"},
		AgreeToTerms:    true, // at directory.Meta.TermsOfService
		ExternalAccount: &acme.ExternalAccount{KeyID: "customer-17", MACKey: macKey},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(account.Status, account.Contact)
	// Output:
	// needs an external account: true
	// valid [mailto:admin@example.com]
}

// The account gets another key. What needs the account's URL, such as CAA records, stays as it is.
func ExampleClient_ChangeKey() {
	ca := acmetest.NewUnstartedServer()
	ca.StartInMemory()
	defer ca.Close()

	oldKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	client := &acme.Client{DirectoryURL: ca.URL, HTTPClient: ca.Client(), Key: oldKey}
	account, err := client.Register(ctx, acme.Registration{AgreeToTerms: true})
	if err != nil {
		log.Fatal(err)
	}

	newKey, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	// A real program writes the new key down here: the CA may have acted though no answer comes.
	if err := client.ChangeKey(ctx, newKey); err != nil {
		log.Fatal(err)
	}

	successor := &acme.Client{DirectoryURL: ca.URL, HTTPClient: ca.Client(), Key: newKey}
	found, err := successor.FindAccount(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("the same account:", found.URL == account.URL)
	_, err = client.FindAccount(ctx)
	fmt.Println("the old key has none:", errors.Is(err, acme.ErrAccountDoesNotExist))
	// Output:
	// the same account: true
	// the old key has none: true
}

// All orders of an account, on however many pages the CA lists them.
func ExampleClient_Orders() {
	ca := acmetest.NewUnstartedServer()
	ca.OrdersPerPage = 2
	ca.StartInMemory()
	defer ca.Close()

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	client := &acme.Client{DirectoryURL: ca.URL, HTTPClient: ca.Client(), Key: key}
	if _, err := client.Register(ctx, acme.Registration{AgreeToTerms: true}); err != nil {
		log.Fatal(err)
	}
	for _, name := range []string{"example.com", "example.net", "example.org"} {
		if _, err := client.NewOrder(ctx, acme.OrderRequest{Identifiers: []acme.Identifier{{Type: acme.TypeDNS, Value: name}}}); err != nil {
			log.Fatal(err)
		}
	}

	for url, err := range client.Orders(ctx) {
		if errors.Is(err, errors.ErrUnsupported) {
			fmt.Println("this CA lists no orders")
			return
		}
		if err != nil {
			log.Fatal(err)
		}
		order, err := client.GetOrder(ctx, url)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(order.Identifiers, order.Status)
	}
	// Unordered output:
	// [example.com] pending
	// [example.net] pending
	// [example.org] pending
}
