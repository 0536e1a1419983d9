package certmanager_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"log"
	"slices"
	"strings"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// One certificate for several names.
func ExampleSubject() {
	m, stop := runLocally(certmanager.Config{Subjects: []certmanager.Subject{{Names: []string{"www.internal", "internal", "10.0.0.1"}}}})
	defer stop()
	served, _ := m.Certificate("www.internal")
	leaf, err := x509.ParseCertificate(served.Certificate[0])
	if err != nil {
		log.Fatal(err)
	}
	slices.Sort(leaf.DNSNames)
	fmt.Println(leaf.DNSNames, leaf.IPAddresses)
	// Output: [internal www.internal] [10.0.0.1]
}

// Old clients that know RSA alone get a certificate with such a key, and all others the smaller one.
func ExampleKeyType() {
	m, stop := runLocally(certmanager.Config{
		Names:    []string{"www.internal"},
		KeyTypes: []certmanager.KeyType{certmanager.ECDSAP256, certmanager.RSA2048},
	})
	defer stop()
	var types []string
	for s := range m.All() {
		types = append(types, string(s.KeyType))
	}
	slices.SortFunc(types, strings.Compare)
	fmt.Println(types)
	// Output: [ecdsa-p256 rsa-2048]
}

// One process obtains and renews, and any number of others serve what it puts into the storage they share.
func ExampleRole() {
	store := new(storage.Memory) // in practice a database, or a folder that all have
	_, stop := runLocally(certmanager.Config{Names: []string{"www.internal"}, Storage: store, Role: certmanager.RoleRenew})
	defer stop()
	server, stopServer := runLocally(certmanager.Config{Names: []string{"www.internal"}, Storage: store, Role: certmanager.RoleServe})
	defer stopServer()
	_, serves := server.Certificate("www.internal")
	fmt.Println("served:", serves)
	fmt.Println(server.Renew(context.Background(), "www.internal") != nil) // that is for the other
	// Output:
	// served: true
	// true
}
