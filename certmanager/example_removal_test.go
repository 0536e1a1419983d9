package certmanager_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// runExample returns a manager at work whose names are served, its CA, and what ends both.
func runExample(names ...string) (m *certmanager.Manager, ca *acmetest.Server, stop func()) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	ca = acmetest.NewServer()
	ca.SetHost("*", listener.Addr().String())
	m, err = certmanager.New(certmanager.Config{
		Names: names, Issuers: []certmanager.Issuer{&certmanager.ACME{DirectoryURL: ca.URL, HTTPClient: ca.Client()}}, AgreeToTerms: true,
		Preflight: certmanager.PreflightOff, Storage: new(storage.Memory), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: http.NotFoundHandler()}
	go server.Serve(m.Listener(listener))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- m.Run(ctx) }()
	if err := m.Wait(ctx); err != nil {
		log.Fatal(err)
	}
	return m, ca, func() {
		cancel()
		<-ended
		server.Close()
		ca.Close()
	}
}

// A customer leaves. For a while his certificate stays in the storage; then it is deleted.
func ExampleManager_Forget() {
	m, _, stop := runExample("example.com", "customer.example.net")
	defer stop()
	fmt.Println(m.Forget("customer.example.net"))
	_, served := m.Certificate("customer.example.net")
	fmt.Println("served:", served)
	// Output:
	// <nil>
	// served: false
}

// A server is given up, and nobody is to use its certificate any more: it has no successor, is revoked, and then deleted.
func ExampleManager_Delete() {
	m, _, stop := runExample("example.com", "customer.example.net")
	defer stop()
	ctx := context.Background()
	fmt.Println("forgotten:", m.Forget("customer.example.net"))
	fmt.Println("revoked:", m.Revoke(ctx, "customer.example.net", acme.ReasonCessationOfOperation))
	fmt.Println("deleted:", m.Delete(ctx, "customer.example.net"))
	// Output:
	// forgotten: <nil>
	// revoked: <nil>
	// deleted: <nil>
}

// A private key was found where it does not belong: a certificate with another one is served, and then the old one revoked.
func ExampleManager_Revoke() {
	m, ca, stop := runExample("example.com")
	defer stop()
	leaked, _ := m.Certificate("example.com")
	if err := m.Revoke(context.Background(), "example.com", acme.ReasonKeyCompromise); err != nil {
		log.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(leaked.Certificate[0])
	if err != nil {
		log.Fatal(err)
	}
	_, revoked := ca.Revoked(leaf.SerialNumber)
	fmt.Println("revoked:", revoked)
	current, _ := m.Certificate("example.com")
	fmt.Println("served:", string(current.Certificate[0]) != string(leaked.Certificate[0]))
	// Output:
	// revoked: true
	// served: true
}

// The CA finds a fault in its validation by tls-alpn-01, and must revoke what it has issued after it.
func ExampleManager_RenewAll() {
	m, _, stop := runExample("example.com", "example.net", "example.org")
	defer stop()
	queued := m.RenewAll(func(s certmanager.Status) bool {
		for _, challenge := range s.Challenges {
			if challenge == acme.TypeTLSALPN01 {
				return true
			}
		}
		return false
	})
	fmt.Println("queued:", queued)
	// Output:
	// queued: 3
}

// A certificate that another program has obtained is served from now on, and renewed by the manager.
func ExampleManager_Import() {
	m, _, stop := runExample()
	defer stop()
	certPEM, keyPEM := fromElsewhere("example.com")
	if err := m.Import(context.Background(), certPEM, keyPEM); err != nil {
		log.Fatal(err)
	}
	status, _ := m.Status("example.com")
	fmt.Println(status.Names, status.State, status.Imported)
	// Output:
	// [example.com] valid true
}

// fromElsewhere returns a chain and a key, as in the files of another program.
func fromElsewhere(name string) (certPEM, keyPEM []byte) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(7), DNSNames: []string{name}, NotBefore: time.Now(), NotAfter: time.Now().AddDate(0, 0, 90)}
	chain, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		log.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		log.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: chain}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}
