package peers_test

import (
	"context"
	"log"
	"net/http"
	"os"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/solver"
	"github.com/go-acme/lego/v5/providers/dns/cloudflare"
)

// A wildcard whose zone is at Cloudflare, by lego's provider.
func Example_lego() {
	config := cloudflare.NewDefaultConfig()
	config.AuthToken = os.Getenv("CLOUDFLARE_API_TOKEN")
	provider, err := cloudflare.NewDNSProviderConfig(config)
	if err != nil {
		log.Fatal(err)
	}
	m, err := certmanager.New(certmanager.Config{
		Names:        []string{"*.example.com"},
		AgreeToTerms: true,
		Solvers:      []acme.Solver{solver.LegoV5(provider)},
	})
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(m.Serve(context.Background(), &http.Server{}))
}
