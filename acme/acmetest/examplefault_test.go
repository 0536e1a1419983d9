package acmetest_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
)

// register returns a client that has an account.
func register(ca *acmetest.Server) *acme.Client {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	client := &acme.Client{DirectoryURL: ca.URL, HTTPClient: ca.Client(), Key: key}
	if _, err := client.Register(context.Background(), acme.Registration{AgreeToTerms: true}); err != nil {
		log.Fatal(err)
	}
	return client
}

// Half of the nonces are refused, and one answer to newOrder is lost after the order was made.
func ExampleServer_SetFaults() {
	ca := acmetest.NewServer()
	defer ca.Close()
	client := register(ca)

	ca.SetFaults(
		acmetest.Share(0.5, ca.BadNonce()),
		acmetest.On("newOrder", acmetest.Next(1, acmetest.CutAnswer())),
	)
	request := acme.OrderRequest{Identifiers: []acme.Identifier{{Type: acme.TypeDNS, Value: "example.com"}}}
	order, err := client.NewOrder(context.Background(), request)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(order.Status)
	fmt.Println("orders:", len(ca.Orders()))
	// Output:
	// pending
	// orders: 2
}

// A fault of one's own: a front end that lets nobody in who has no ticket.
func ExampleFault() {
	ca := acmetest.NewServer()
	defer ca.Close()
	ticket := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Ticket") == "" {
				http.Error(w, "no ticket", http.StatusForbidden)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
	ca.SetFaults(acmetest.On("directory", ticket))
	response, err := ca.Client().Get(ca.URL)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	fmt.Println(response.Status)
	// Output:
	// 403 Forbidden
}

// The third order is one too many; the client is told when to come back.
func ExampleRateLimits() {
	ca := acmetest.NewUnstartedServer()
	ca.RateLimits.NewOrders = acmetest.Limit{Count: 2, Per: time.Hour}
	ca.Start()
	defer ca.Close()
	client := register(ca)

	request := acme.OrderRequest{Identifiers: []acme.Identifier{{Type: acme.TypeDNS, Value: "example.com"}}}
	for range 3 {
		_, err := client.NewOrder(context.Background(), request)
		var problem *acme.Problem
		if errors.As(err, &problem) {
			fmt.Println(errors.Is(err, acme.ErrRateLimited), problem.RetryAfter.Round(time.Minute))
			return
		}
		fmt.Println("an order")
	}
	// Output:
	// an order
	// an order
	// true 30m0s
}
