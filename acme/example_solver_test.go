package acme_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"log"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
)

// A zone answers dns-01 challenges. Here it is the test CA's table of TXT records; a real one calls the API
// of whoever serves the zone, and has a Wait method that looks until all its servers have the record.
type zone struct{ ca *acmetest.Server }

func (zone) Type() string { return acme.TypeDNS01 }

func (z zone) Present(_ context.Context, p acme.Proof) error {
	name, value, err := p.TXTRecord()
	if err != nil {
		return err
	}
	z.ca.SetTXT(name, value)
	return nil
}

func (z zone) CleanUp(_ context.Context, p acme.Proof) error {
	name, _, err := p.TXTRecord()
	if err != nil {
		return err
	}
	z.ca.SetTXT(name) // a real one takes away the one value only
	return nil
}

// issueExample registers an account and obtains a certificate for a wildcard.
func issueExample(ctx context.Context, ca *acmetest.Server) (*acme.Client, crypto.Signer, *acme.Certificate) {
	accountKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	client := &acme.Client{DirectoryURL: ca.URL, HTTPClient: ca.Client(), Key: accountKey}
	if _, err := client.Register(ctx, acme.Registration{AgreeToTerms: true}); err != nil {
		log.Fatal(err)
	}
	certificate, err := client.Issue(ctx, acme.Request{
		Identifiers: []acme.Identifier{{Type: acme.TypeDNS, Value: "*.example.com"}},
		Key:         key,
		Solvers:     []acme.Solver{zone{ca}},
	})
	if err != nil {
		log.Fatal(err)
	}
	return client, key, certificate
}

// A solver of one's own in three methods: a wildcard is proved by a record in the zone.
func ExampleSolver() {
	ca := acmetest.NewUnstartedServer()
	ca.StartInMemory()
	defer ca.Close()

	_, _, certificate := issueExample(context.Background(), ca)
	fmt.Println(certificate.Leaf.DNSNames)
	// Output: [*.example.com]
}

// The record for a challenge, for whatever sets it: the name in the zone, and the text.
func ExampleProof_TXTRecord() {
	p := acme.Proof{
		Challenge:        acme.Challenge{Type: acme.TypeDNS01, Token: "DGyRejmCefe7v4NfDGDKfA"},
		Identifier:       acme.Identifier{Type: acme.TypeDNS, Value: "example.com"},
		Wildcard:         true,
		KeyAuthorization: "DGyRejmCefe7v4NfDGDKfA.9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI",
		AccountURL:       "https://ca.example/account/1",
	}
	name, value, err := p.TXTRecord()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s. 60 IN TXT %q\n", name, value)

	p.Type = acme.TypeDNSAccount01 // at a name of the account's own, where no other meets it
	name, value, err = p.TXTRecord()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s. 60 IN TXT %q\n", name, value)
	// Output:
	// _acme-challenge.example.com. 60 IN TXT "LErY_CSP4pbS2liuXH0HiklOVjPraZ0fkqzJ709dFUY"
	// _pojxwzjfwxpygt3s._acme-challenge.example.com. 60 IN TXT "LErY_CSP4pbS2liuXH0HiklOVjPraZ0fkqzJ709dFUY"
}
