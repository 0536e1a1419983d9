package acme_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
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

// A webSolver answers http-01 challenges from memory: it is a solver and an http.Handler.
type webSolver struct{ answers sync.Map }

func (*webSolver) Type() string { return acme.TypeHTTP01 }

func (s *webSolver) Present(_ context.Context, p acme.Proof) error {
	s.answers.Store(p.Token, p.KeyAuthorization)
	return nil
}

func (s *webSolver) CleanUp(_ context.Context, p acme.Proof) error {
	s.answers.Delete(p.Token)
	return nil
}

func (s *webSolver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer, ok := s.answers.Load(path.Base(r.URL.Path))
	if !ok {
		http.NotFound(w, r)
		return
	}
	_, _ = io.WriteString(w, answer.(string))
}

// A certificate for a name, by http-01, from a CA that runs in the test itself.
func ExampleClient_Issue() {
	web := new(webSolver)
	server := httptest.NewServer(web) // the server that the name leads to
	defer server.Close()
	ca := acmetest.NewServer()
	defer ca.Close()
	ca.SetHost("example.com", server.Listener.Addr().String())

	accountKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	example, err := acme.ParseIdentifier("Example.com")
	if err != nil {
		log.Fatal(err)
	}

	ctx := context.Background()
	client := &acme.Client{DirectoryURL: ca.URL, HTTPClient: ca.Client(), Key: accountKey}
	if _, err := client.Register(ctx, acme.Registration{AgreeToTerms: true}); err != nil {
		log.Fatal(err)
	}
	certificate, err := client.Issue(ctx, acme.Request{
		Identifiers: []acme.Identifier{example},
		Key:         key,
		Solvers:     []acme.Solver{web},
		Before: func(_ context.Context, s acme.Step) error {
			fmt.Println("next:", s.Action)
			return nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(certificate.Leaf.DNSNames, len(certificate.Chain))
	// Output:
	// next: order
	// next: authorize
	// next: present
	// next: accept
	// next: finalize
	// next: download
	// [example.com] 2
}

// The type of a problem is found through any wrapping, the problem itself has the CA's words.
func ExampleProblem() {
	ca := acmetest.NewServer()
	defer ca.Close()
	ca.Refuse("example.com")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	client := &acme.Client{DirectoryURL: ca.URL, HTTPClient: ca.Client(), Key: key}
	if _, err := client.Register(ctx, acme.Registration{AgreeToTerms: true}); err != nil {
		log.Fatal(err)
	}

	_, err = client.NewOrder(ctx, acme.OrderRequest{Identifiers: []acme.Identifier{
		{Type: acme.TypeDNS, Value: "example.com"},
		{Type: acme.TypeDNS, Value: "example.org"},
	}})
	fmt.Println(errors.Is(err, acme.ErrRejectedIdentifier), errors.Is(err, acme.ErrRateLimited))
	if problem, ok := errors.AsType[*acme.Problem](err); ok {
		for _, sub := range problem.Subproblems {
			fmt.Println(sub)
		}
	}
	// Output:
	// true false
	// example.com: this CA issues no certificates for "example.com" (rejectedIdentifier)
}

func ExampleParseIdentifier() {
	for _, name := range []string{"Example.COM.", "*.bücher.example", "2001:DB8:0:0::1", "example.com:443"} {
		id, err := acme.ParseIdentifier(name)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(id.Type, id)
	}
	// Output:
	// dns example.com
	// dns *.xn--bcher-kva.example
	// ip 2001:db8::1
	// acme: "example.com:443" is neither a domain name nor an IP address (no port, scheme or path belongs here)
}
