package kubernetes_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/kubernetes"
)

// The pods of a deployment share a lease, with nothing but their service account.
func Example() {
	ctx := context.Background()
	store, err := kubernetes.Open(ctx, "kubernetes:///certificates", kubernetes.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	if err := storage.Check(ctx, store); err != nil {
		log.Fatal(err)
	}
	lease, err := storage.Acquire(ctx, store, "work/example.com", 30*time.Second)
	if err != nil {
		log.Fatal(err)
	}
	defer lease.Release(context.WithoutCancel(ctx))
	fmt.Println("holder", lease.Fence())
}

// A program with client-go gives the client and the host of its rest.Config.
func ExampleNew() {
	var client *http.Client // rest.HTTPClientFor(config)
	_, err := kubernetes.New(client, "https://10.0.0.1:6443", kubernetes.Config{Namespace: "certificates"})
	fmt.Println(err)
	// Output:
	// storage/kubernetes: the client is nil: give one that shows the API server who it is
}

// A manager obtains certificates, and an ingress in the namespace web serves them.
func ExampleTLSSecrets() {
	ctx := context.Background()
	store, err := kubernetes.Open(ctx, "kubernetes:///certificates", kubernetes.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	m, err := certmanager.New(certmanager.Config{Names: []string{"example.com"}, AgreeToTerms: true, Storage: store})
	if err != nil {
		log.Fatal(err)
	}
	secrets := &kubernetes.TLSSecrets{Store: store, Namespace: "web"}
	go secrets.Run(ctx)
	log.Fatal(m.Run(ctx))
}

func ExampleTLSSecretName() {
	for _, name := range []string{"example.com", "*.example.com", "2001:db8::1"} {
		fmt.Println(kubernetes.TLSSecretName(name))
	}
	// Output:
	// tls.example.com <nil>
	// tls-wildcard.example.com <nil>
	// tls.2001-0db8-0000-0000-0000-0000-0000-0001 <nil>
}
