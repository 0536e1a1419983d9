package index_test

import (
	"crypto/tls"
	"fmt"
	"strings"

	"github.com/everseal/everseal/certmanager/internal/index"
)

func ExampleIndex() {
	var certs index.Index[*tls.Certificate]
	certs.Put("*.example.com", &tls.Certificate{Certificate: [][]byte{[]byte("the wildcard's")}})
	certs.Put("www.example.com", &tls.Certificate{Certificate: [][]byte{[]byte("its own")}})

	getCertificate := func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert, _ := certs.Lookup(strings.ToLower(hello.ServerName))
		return cert, nil
	}
	for _, name := range []string{"www.example.com", "API.example.com", "example.com"} {
		cert, _ := getCertificate(&tls.ClientHelloInfo{ServerName: name})
		if cert == nil {
			fmt.Println(name, "has none")
			continue
		}
		fmt.Printf("%s has %s\n", name, cert.Certificate[0])
	}
	// Output:
	// www.example.com has its own
	// API.example.com has the wildcard's
	// example.com has none
}
