package acme_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
)

// A certificate that is used no more is revoked by the account that ordered it. That somebody did so before
// is no failure.
func ExampleClient_RevokeCertificate() {
	ca := acmetest.NewUnstartedServer()
	ca.StartInMemory()
	defer ca.Close()
	ctx := context.Background()
	client, _, certificate := issueExample(ctx, ca)

	for range 2 {
		err := client.RevokeCertificate(ctx, certificate.Leaf.Raw, acme.ReasonCessationOfOperation)
		switch {
		case errors.Is(err, acme.ErrAlreadyRevoked):
			fmt.Println("was revoked already")
		case err != nil:
			fmt.Println(err)
		default:
			fmt.Println("revoked")
		}
	}
	// Output:
	// revoked
	// was revoked already
}

// Whoever comes upon a private key can have its certificate revoked, without any account.
func ExampleClient_RevokeWithKey() {
	ca := acmetest.NewUnstartedServer()
	ca.StartInMemory()
	defer ca.Close()
	ctx := context.Background()
	_, key, certificate := issueExample(ctx, ca)

	finder := &acme.Client{DirectoryURL: ca.URL, HTTPClient: ca.Client()}
	if err := finder.RevokeWithKey(ctx, certificate.Leaf.Raw, key, acme.ReasonKeyCompromise); err != nil {
		fmt.Println(err)
	}
	fmt.Println(ca.Revoked(certificate.Leaf.SerialNumber))
	// Output: 1 true
}
