package acme_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"log"
	"math/big"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
)

// Each request to the CA is told of, such as to count it.
func ExampleExchange() {
	ca := acmetest.NewUnstartedServer()
	ca.StartInMemory()
	defer ca.Close()
	client := acme.Client{DirectoryURL: ca.URL, HTTPClient: ca.Client(), Observe: func(e acme.Exchange) {
		fmt.Println(e.Action, e.Status, e.Err)
	}}
	if _, err := client.GetDirectory(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output: directory 200 <nil>
}

// A CA that fails itself may soon do better; one that refuses won't.
func ExampleIsOutage() {
	ca := acmetest.NewUnstartedServer()
	ca.StartInMemory()
	defer ca.Close()
	client, _, certificate := issueExample(context.Background(), ca)
	for _, status := range []int{500, 403} {
		ca.SetFaults(ca.Problem(status, "unauthorized", "not now"))
		err := client.RevokeCertificate(context.Background(), certificate.Leaf.Raw, 0)
		fmt.Println(status, acme.IsOutage(err))
	}
	// Output:
	// 500 true
	// 403 false
}

// CAs show the key of an external account in either alphabet of base64, padded or not.
func ExampleParseMACKey() {
	for _, shown := range []string{"-_8", "+/8=", "no key"} {
		key, err := acme.ParseMACKey(shown)
		fmt.Printf("%x %v\n", key, err != nil)
	}
	// Output:
	// fbff false
	// fbff false
	//  true
}

// The example of RFC 9773 §4.1.
func ExampleCertificateID() {
	fmt.Println(acme.CertificateID(&x509.Certificate{
		AuthorityKeyId: []byte{0x69, 0x88, 0x5b, 0x6b, 0x87, 0x46, 0x40, 0x41, 0xe1, 0xb3, 0x7b, 0x84, 0x7b, 0xa0, 0xae, 0x2c, 0xde, 0x01, 0xc8, 0xd4},
		SerialNumber:   big.NewInt(0x87654321),
	}))
	// Output: aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE <nil>
}
