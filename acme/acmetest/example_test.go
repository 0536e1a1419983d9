package acmetest_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path"
	"sync"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
)

// A webServer answers http-01 challenges. It is the acme.Solver that publishes the answers, too.
type webServer struct {
	answers sync.Map // key authorizations by token
}

func (*webServer) Type() string { return acme.TypeHTTP01 }

func (s *webServer) Present(_ context.Context, p acme.Proof) error {
	s.answers.Store(p.Token, p.KeyAuthorization)
	return nil
}

func (s *webServer) CleanUp(_ context.Context, p acme.Proof) error {
	s.answers.Delete(p.Token)
	return nil
}

func (s *webServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer, ok := s.answers.Load(path.Base(r.URL.Path))
	if !ok {
		http.NotFound(w, r)
		return
	}
	_, _ = io.WriteString(w, answer.(string))
}

func Example() {
	solver := new(webServer)
	web := httptest.NewServer(solver)
	defer web.Close()

	ca := acmetest.NewServer()
	defer ca.Close()
	ca.SetHost("example.com", web.Listener.Addr().String())

	accountKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	certificateKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	client := &acme.Client{DirectoryURL: ca.URL, HTTPClient: ca.Client(), Key: accountKey}
	if _, err := client.Register(ctx, acme.Registration{AgreeToTerms: true}); err != nil {
		log.Fatal(err)
	}
	certificate, err := client.Issue(ctx, acme.Request{
		Identifiers: []acme.Identifier{{Type: acme.TypeDNS, Value: "example.com"}},
		Key:         certificateKey,
		Solvers:     []acme.Solver{solver},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("names:", certificate.Leaf.DNSNames)
	fmt.Println("issued:", len(ca.Certificates()))
	fmt.Println("lifetime:", certificate.Leaf.NotAfter.Sub(certificate.Leaf.NotBefore))

	_, err = client.Issue(ctx, acme.Request{
		Identifiers: []acme.Identifier{{Type: acme.TypeDNS, Value: "example.org"}},
		Key:         certificateKey,
		Solvers:     []acme.Solver{solver},
	})
	fmt.Println("problem:", err)
	// Output:
	// names: [example.com]
	// issued: 1
	// lifetime: 2160h0m0s
	// problem: acme: the order failed: example.org: http-01: the name "example.org" does not resolve (dns, HTTP 400)
}

// The server under test is reached by its own address, and nothing leaves the process.
func ExampleNetwork() {
	var network acmetest.Network
	listener, err := network.Listen("tcp", ":80")
	if err != nil {
		log.Fatal(err)
	}
	solver := new(webServer)
	web := &http.Server{Handler: solver}
	go func() { _ = web.Serve(listener) }()
	defer func() { _ = web.Close() }()

	ca := acmetest.NewUnstartedServer()
	ca.Dial = network.DialContext
	ca.SetHost("example.com", "192.0.2.1")
	ca.StartInMemory()
	defer ca.Close()

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	certificate, err := register(ca).Issue(context.Background(), acme.Request{
		Identifiers: []acme.Identifier{{Type: acme.TypeDNS, Value: "example.com"}},
		Key:         key,
		Solvers:     []acme.Solver{solver},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ca.URL, certificate.Leaf.DNSNames)
	// Output:
	// https://acmetest.invalid/directory [example.com]
}
