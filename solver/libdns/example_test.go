package libdns_test

import (
	"context"
	"log"
	"net/http"
	"os"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/libdns"
	"github.com/libdns/cloudflare"
)

// A wildcard whose zone is at Cloudflare.
func ExampleNew() {
	m, err := certmanager.New(certmanager.Config{
		Names:        []string{"*.example.com"},
		AgreeToTerms: true,
		Solvers: []acme.Solver{&solver.DNS01{
			Provider: libdns.New(&cloudflare.Provider{APIToken: os.Getenv("CLOUDFLARE_API_TOKEN")}),
		}},
	})
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(m.Serve(context.Background(), &http.Server{}))
}
