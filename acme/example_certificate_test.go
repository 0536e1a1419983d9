package acme_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
)

// A certificate as a TLS server takes it. This CA sends its leaf twice, which costs a warning.
func ExampleCertificate() {
	ca := acmetest.NewUnstartedServer()
	ca.StartInMemory()
	defer ca.Close()
	ca.SetFaults(acmetest.On("certificate", acmetest.Edit(func(r *acmetest.Response) {
		leaf, _ := pem.Decode(r.Body)
		r.Body = append(pem.EncodeToMemory(leaf), r.Body...)
	})))
	_, key, certificate := issueExample(context.Background(), ca)

	for _, warning := range certificate.Warnings {
		fmt.Println(warning)
	}
	config := tls.Config{Certificates: []tls.Certificate{{Certificate: certificate.Chain, PrivateKey: key, Leaf: certificate.Leaf}}}
	fmt.Println(len(config.Certificates[0].Certificate), "certificates are sent,", bytes.Count(certificate.PEM(), []byte("BEGIN")), "are in the PEM")
	// Output:
	// certificate 2 of the CA's answer was left out of the chain: it repeats another
	// 2 certificates are sent, 2 are in the PEM
}

// One that was read back from a file is checked before it is served.
func ExampleCertificate_Verify() {
	ca := acmetest.NewUnstartedServer()
	ca.StartInMemory()
	defer ca.Close()
	_, key, certificate := issueExample(context.Background(), ca)

	ordered := []acme.Identifier{{Type: acme.TypeDNS, Value: "*.example.com"}}
	fmt.Println(certificate.Verify(key.Public(), ordered, time.Now()))
	other := []acme.Identifier{{Type: acme.TypeDNS, Value: "example.com"}}
	fmt.Println(certificate.Verify(key.Public(), other, time.Now()))
	// Output:
	// <nil>
	// the certificate does not name example.com
}

// What a CA offers, and which terms it has, stands in its directory.
func ExampleDirectory() {
	ca := acmetest.NewUnstartedServer()
	ca.Profiles = map[string]acmetest.Profile{"shortlived": {Description: "six days"}}
	ca.StartInMemory()
	defer ca.Close()

	ctx := context.Background()
	client := &acme.Client{DirectoryURL: ca.URL, HTTPClient: ca.Client()}
	directory, err := client.GetDirectory(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(directory.Meta.Profiles)
	fmt.Println("renewal information:", directory.RenewalInfo != "", "external account needed:", directory.Meta.ExternalAccountRequired)
	// Output:
	// map[shortlived:six days]
	// renewal information: true external account needed: false
}

// The CA's terms are shown to somebody who can agree to them.
func ExampleTermsError() {
	ca := acmetest.NewUnstartedServer()
	ca.StartInMemory()
	defer ca.Close()
	ctx := context.Background()
	client, _, _ := issueExample(ctx, ca)

	_, err := client.Register(ctx, acme.Registration{})
	if terms, ok := errors.AsType[*acme.TermsError](err); ok {
		fmt.Println("terms to read:", terms.URL != "")
	}
	// Output: terms to read: true
}

// The instant to renew is chosen once for each window, at random and so at another for each client.
func ExampleWindow_At() {
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	window := acme.Window{Start: start, End: start.Add(48 * time.Hour)}
	const random = 0.25 // rand.Float64()
	fmt.Println(window.At(random))
	// Output: 2026-03-01 12:00:00 +0000 UTC
}
