package certmanager_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"log"
	"log/slog"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// Certificates for internal names, signed by a CA of one's own, whose root clients are told to trust for these names alone.
func ExampleLocalCA() {
	store := new(storage.Memory) // in practice a folder or a database
	ca := &certmanager.LocalCA{Permitted: []string{"internal", "10.0.0.0/8"}}
	m, err := certmanager.New(certmanager.Config{
		Names: []string{"db.internal"}, Issuers: []certmanager.Issuer{ca}, Storage: store, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- m.Run(ctx) }()
	fmt.Println("obtained:", m.Wait(ctx))

	root, err := ca.Root(ctx, store) // to be installed where clients are
	if err != nil {
		log.Fatal(err)
	}
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(root)
	served, _ := m.Certificate("db.internal")
	leaf, err := x509.ParseCertificate(served.Certificate[0])
	if err != nil {
		log.Fatal(err)
	}
	intermediate, err := x509.ParseCertificate(served.Certificate[1])
	if err != nil {
		log.Fatal(err)
	}
	intermediates.AddCert(intermediate)
	_, err = leaf.Verify(x509.VerifyOptions{DNSName: "db.internal", Roots: roots, Intermediates: intermediates})
	fmt.Println("verified:", err)
	fmt.Println("refused:", m.Manage(certmanager.Subject{Names: []string{"example.com"}}))
	cancel()
	<-ended
	// Output:
	// obtained: <nil>
	// verified: <nil>
	// refused: certmanager: example.com: issuer local: example.com is not among what it is permitted to sign for: 10.0.0.0/8, internal
}

// Two CAs: the first wants an external account, and the second is asked for what the first refuses three times in a row. Put
// before the CA that a server had so far, another one takes its place at each certificate's next renewal.
func ExampleACME() {
	mac, err := acme.ParseMACKey("zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W")
	if err != nil {
		log.Fatal(err)
	}
	google := &certmanager.ACME{
		DirectoryURL:    acme.GoogleTrustServices,
		ExternalAccount: &acme.ExternalAccount{KeyID: "kid-1", MACKey: mac},
		// Its test environment hands out external accounts of its own.
		Staging: &certmanager.ACME{ExternalAccount: &acme.ExternalAccount{KeyID: "kid-2", MACKey: mac}},
	}
	_, err = certmanager.New(certmanager.Config{
		Names: []string{"example.com"}, Issuers: []certmanager.Issuer{google, &certmanager.ACME{}}, Failover: 3,
		AgreeToTerms: true, Storage: new(storage.Memory),
	})
	fmt.Println(err)
	google.ExternalAccount = nil
	_, err = certmanager.New(certmanager.Config{Issuers: []certmanager.Issuer{google}, AgreeToTerms: true, Storage: new(storage.Memory)})
	fmt.Println(err)
	// Output:
	// <nil>
	// certmanager: ACME.ExternalAccount is missing: Google Trust Services makes accounts only for those who have one there: set the key that it hands out, and its identifier
}
