package solver_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/storage"
)

// exampleProof returns what package acme hands to a solver.
func exampleProof(challengeType string) acme.Proof {
	return acme.Proof{
		Challenge:        acme.Challenge{Type: challengeType, Token: "evaGxfADs6pSRb2LAv9IZf17"},
		Identifier:       acme.Identifier{Type: acme.TypeDNS, Value: "example.com"},
		KeyAuthorization: "evaGxfADs6pSRb2LAv9IZf17.9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI",
	}
}

// HTTP01 in front of the handler of a server that listens on port 80.
func ExampleHTTP01() {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "Hello.") })

	http01 := &solver.HTTP01{Storage: new(storage.Memory)}
	server := httptest.NewServer(http01.Handler(mux))
	defer server.Close()

	if err := http01.Present(context.Background(), exampleProof(acme.TypeHTTP01)); err != nil {
		log.Fatal(err)
	}
	for _, path := range []string{"/", "/.well-known/acme-challenge/evaGxfADs6pSRb2LAv9IZf17"} {
		response, err := http.Get(server.URL + path)
		if err != nil {
			log.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s\n", body)
	}
	// Output:
	// Hello.
	// evaGxfADs6pSRb2LAv9IZf17.9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI
}

// Webroot beside a server that has port 80, such as nginx with
//
//	root /var/www/html;
func ExampleWebroot() {
	root, err := os.MkdirTemp("", "html")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(root)
	nginx := httptest.NewServer(http.FileServer(http.Dir(root)))
	defer nginx.Close()

	webroot := &solver.Webroot{Dir: root}
	show := func() {
		response, err := http.Get(nginx.URL + "/.well-known/acme-challenge/evaGxfADs6pSRb2LAv9IZf17")
		if err != nil {
			log.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(response.StatusCode, string(body))
	}
	if err := webroot.Present(context.Background(), exampleProof(acme.TypeHTTP01)); err != nil {
		log.Fatal(err)
	}
	show()
	if err := webroot.CleanUp(context.Background(), exampleProof(acme.TypeHTTP01)); err != nil {
		log.Fatal(err)
	}
	show()
	// Output:
	// 200 evaGxfADs6pSRb2LAv9IZf17.9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI
	// 404 404 page not found
}

// TLSALPN01 in the tls.Config of a server that listens on port 443.
func ExampleTLSALPN01() {
	tlsALPN01 := &solver.TLSALPN01{Storage: new(storage.Memory)}
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = &tls.Config{
		NextProtos: []string{"http/1.1", solver.ALPNProto},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if solver.IsChallenge(hello) {
				return tlsALPN01.GetCertificate(hello)
			}
			return nil, nil // the server's own certificate
		},
	}
	server.StartTLS()
	defer server.Close()

	if err := tlsALPN01.Present(context.Background(), exampleProof(acme.TypeTLSALPN01)); err != nil {
		log.Fatal(err)
	}
	// What the CA does.
	conn, err := tls.Dial("tcp", server.Listener.Addr().String(), &tls.Config{
		ServerName:         "example.com",
		NextProtos:         []string{solver.ALPNProto},
		InsecureSkipVerify: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	state := conn.ConnectionState()
	fmt.Println(state.NegotiatedProtocol, state.PeerCertificates[0].DNSNames)
	// Output:
	// acme-tls/1 [example.com]
}
