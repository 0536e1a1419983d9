package acme_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log"
	"slices"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
)

// registerExample returns a client with an account, and a key for a certificate.
func registerExample(ctx context.Context, ca *acmetest.Server) (*acme.Client, *ecdsa.PrivateKey) {
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
	return client, key
}

// The protocol step by step, for what Issue does not do.
func ExampleClient_NewOrder() {
	ca := acmetest.NewUnstartedServer()
	ca.StartInMemory()
	defer ca.Close()
	ctx := context.Background()
	client, key := registerExample(ctx, ca)

	order, err := client.NewOrder(ctx, acme.OrderRequest{Identifiers: []acme.Identifier{{Type: acme.TypeDNS, Value: "example.com"}}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("order:", order.Status)
	for _, url := range order.Authorizations {
		authorization, err := client.GetAuthorization(ctx, url)
		if err != nil {
			log.Fatal(err)
		}
		i := slices.IndexFunc(authorization.Challenges, func(c acme.Challenge) bool { return c.Type == acme.TypeDNS01 })
		proof, err := client.NewProof(ctx, authorization, authorization.Challenges[i])
		if err != nil {
			log.Fatal(err)
		}
		name, value, err := proof.TXTRecord()
		if err != nil {
			log.Fatal(err)
		}
		ca.SetTXT(name, value) // a real program sets it in the zone, and waits until all servers have it
		if _, err := client.AcceptChallenge(ctx, proof.URL, nil); err != nil {
			log.Fatal(err)
		}
	}
	if order, err = client.WaitOrder(ctx, order); err != nil {
		log.Fatal(err)
	}
	fmt.Println("order:", order.Status)
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"example.com"}}, key)
	if err != nil {
		log.Fatal(err)
	}
	if order, err = client.FinalizeOrder(ctx, order, csr); err != nil {
		log.Fatal(err)
	}
	if order, err = client.WaitOrder(ctx, order); err != nil {
		log.Fatal(err)
	}
	certificate, err := client.GetCertificate(ctx, order.Certificate)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(certificate.Leaf.DNSNames)
	// Output:
	// order: pending
	// order: ready
	// [example.com]
}

// Some names fail, and the order with them. What failed is left out of the next.
func ExampleOrderError() {
	ca := acmetest.NewUnstartedServer()
	ca.StartInMemory()
	defer ca.Close()
	ca.FailValidations("bad.example.com", 1)
	ctx := context.Background()
	client, key := registerExample(ctx, ca)

	names := []acme.Identifier{{Type: acme.TypeDNS, Value: "bad.example.com"}, {Type: acme.TypeDNS, Value: "good.example.com"}}
	for len(names) > 0 {
		certificate, err := client.Issue(ctx, acme.Request{Identifiers: names, Key: key, Solvers: []acme.Solver{zone{ca}}})
		if err == nil {
			fmt.Println("a certificate for", certificate.Leaf.DNSNames)
			break
		}
		failed, ok := errors.AsType[*acme.OrderError](err)
		if !ok || len(failed.Authorizations) == 0 {
			log.Fatal(err) // another error: the same order may be resumed
		}
		for _, a := range failed.Authorizations {
			fmt.Println(a.Identifier, "failed, unauthorized:", errors.Is(a, acme.ErrUnauthorized))
			names = slices.DeleteFunc(names, func(id acme.Identifier) bool { return id.Value == a.Identifier })
		}
	}
	// Output:
	// bad.example.com failed, unauthorized: true
	// a certificate for [good.example.com]
}

// A program that may be killed at any moment writes down the steps and resumes the order.
func ExampleStep() {
	ca := acmetest.NewUnstartedServer()
	ca.StartInMemory()
	defer ca.Close()
	ctx := context.Background()
	client, key := registerExample(ctx, ca)

	var orderURL string // a real program keeps both in a file, with the key
	var proofs []acme.Proof
	request := acme.Request{
		Identifiers: []acme.Identifier{{Type: acme.TypeDNS, Value: "example.com"}},
		Key:         key,
		Solvers:     []acme.Solver{zone{ca}},
		Before: func(_ context.Context, s acme.Step) error {
			orderURL, proofs = s.OrderURL, append(proofs, s.Proofs...)
			if s.Action == acme.ActionDownload {
				return errors.New("killed")
			}
			return nil
		},
	}
	_, err := client.Issue(ctx, request)
	fmt.Println(err)

	request.OrderURL, request.Presented, request.Before = orderURL, proofs, nil
	certificate, err := client.Issue(ctx, request)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(certificate.Leaf.DNSNames, "of", len(ca.Orders()), "order")
	// Output:
	// killed
	// [example.com] of 1 order
}

// A CA that wants more in the subject than a common name, for which Request.CommonName is enough, gets a
// certificate request made here.
func ExampleRequest_csr() {
	ca := acmetest.NewUnstartedServer()
	ca.StartInMemory()
	defer ca.Close()
	ctx := context.Background()
	client, key := registerExample(ctx, ca)

	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:  pkix.Name{CommonName: "example.com", Organization: []string{"Example Ltd"}},
		DNSNames: []string{"example.com", "www.example.com"},
	}, key)
	if err != nil {
		log.Fatal(err)
	}
	certificate, err := client.Issue(ctx, acme.Request{
		Identifiers: []acme.Identifier{{Type: acme.TypeDNS, Value: "example.com"}, {Type: acme.TypeDNS, Value: "www.example.com"}},
		CSR:         csr,
		Solvers:     []acme.Solver{zone{ca}},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(certificate.Leaf.Subject.CommonName, certificate.Leaf.DNSNames)
	// Output: example.com [example.com www.example.com]
}
