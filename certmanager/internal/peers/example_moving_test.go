package peers_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"

	"github.com/caddyserver/certmagic"
	"golang.org/x/crypto/acme/autocert"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/migrate"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/storage"
)

// The programs of certmanager/migrate/README.md.

func Example_fromCertbot() {
	mux := http.NewServeMux()
	var provider solver.Provider
	ctx := context.Background()
	m, err := certmanager.New(certmanager.Config{
		Subjects: []certmanager.Subject{
			{Names: []string{"example.com", "www.example.com"}},
			{Names: []string{"*.example.net", "example.net"}, Solvers: []acme.Solver{&solver.DNS01{Provider: provider}}},
		},
		AgreeToTerms: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	report, err := (&migrate.Migration{Manager: m}).Certbot(ctx, "/etc/letsencrypt")
	fmt.Print(report)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(m.Serve(ctx, &http.Server{Handler: mux}))
}

func Example_fromLego() {
	mux := http.NewServeMux()
	ctx := context.Background()
	m, err := certmanager.New(certmanager.Config{
		Names:        []string{"example.com"},
		AgreeToTerms: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	report, err := (&migrate.Migration{Manager: m}).Lego(ctx, "/var/lib/lego/.lego")
	fmt.Print(report)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(m.Serve(ctx, &http.Server{Handler: mux}))
}

func Example_fromAcmesh() {
	mux := http.NewServeMux()
	var external *acme.ExternalAccount
	ctx := context.Background()
	m, err := certmanager.New(certmanager.Config{
		Subjects:     []certmanager.Subject{{Names: []string{"example.com", "www.example.com"}}},
		AgreeToTerms: true,
		Issuers:      []certmanager.Issuer{&certmanager.ACME{DirectoryURL: acme.ZeroSSL, ExternalAccount: external}},
	})
	if err != nil {
		log.Fatal(err)
	}
	report, err := (&migrate.Migration{Manager: m}).ACMESh(ctx, "/root/.acme.sh")
	fmt.Print(report)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(m.Serve(ctx, &http.Server{Handler: mux}))
}

func Example_fromDehydrated() {
	mux := http.NewServeMux()
	ctx := context.Background()
	m, err := certmanager.New(certmanager.Config{
		Subjects:     []certmanager.Subject{{Names: []string{"example.com", "www.example.com"}, KeyTypes: []certmanager.KeyType{certmanager.ECDSAP384}}},
		AgreeToTerms: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	report, err := (&migrate.Migration{Manager: m}).Dehydrated(ctx, "/var/lib/dehydrated")
	fmt.Print(report)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(m.Serve(ctx, &http.Server{Handler: mux}))
}

func Example_fromCaddy() {
	ctx := context.Background()
	backend := &url.URL{Scheme: "http", Host: "localhost:8080"}
	m, err := certmanager.New(certmanager.Config{
		Names:        []string{"example.com", "www.example.com"},
		AgreeToTerms: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	report, err := (&migrate.Migration{Manager: m}).CertMagic(ctx, "/var/lib/caddy/.local/share/caddy")
	fmt.Print(report)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(m.Serve(ctx, &http.Server{Handler: httputil.NewSingleHostReverseProxy(backend)}))
}

func Example_fromCertmagicBefore() {
	mux := http.NewServeMux()
	certmagic.DefaultACME.Agreed = true
	certmagic.DefaultACME.Email = "admin@example.com"
	certmagic.Default.Storage = &certmagic.FileStorage{Path: "/var/lib/myserver"}
	log.Fatal(certmagic.HTTPS([]string{"example.com", "www.example.com"}, mux))
}

func Example_fromCertmagic() {
	mux := http.NewServeMux()
	ctx := context.Background()
	m, err := certmanager.New(certmanager.Config{
		Names:        []string{"example.com", "www.example.com"},
		Email:        "admin@example.com",
		AgreeToTerms: true,
		Storage:      storage.Dir("/var/lib/myserver-everseal"),
	})
	if err != nil {
		log.Fatal(err)
	}
	report, err := (&migrate.Migration{Manager: m}).CertMagic(ctx, "/var/lib/myserver")
	fmt.Print(report)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(m.Serve(ctx, &http.Server{Handler: mux}))
}

func Example_fromAutocertBefore() {
	mux := http.NewServeMux()
	m := &autocert.Manager{
		Prompt:     autocert.AcceptTOS,
		HostPolicy: autocert.HostWhitelist("example.com", "www.example.com"),
		Cache:      autocert.DirCache("/var/lib/myserver"),
		Email:      "admin@example.com",
	}
	go http.ListenAndServe(":http", m.HTTPHandler(nil))
	server := &http.Server{Addr: ":https", Handler: mux, TLSConfig: m.TLSConfig()}
	log.Fatal(server.ListenAndServeTLS("", ""))
}

func Example_fromAutocert() {
	mux := http.NewServeMux()
	ctx := context.Background()
	m, err := certmanager.New(certmanager.Config{
		Names:        []string{"example.com", "www.example.com"},
		Email:        "admin@example.com",
		AgreeToTerms: true,
		Storage:      storage.Dir("/var/lib/myserver-everseal"),
	})
	if err != nil {
		log.Fatal(err)
	}
	report, err := (&migrate.Migration{Manager: m}).Autocert(ctx, "/var/lib/myserver")
	fmt.Print(report)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(m.Serve(ctx, &http.Server{Handler: mux}))
}

func Example_fromTraefik() {
	mux := http.NewServeMux()
	ctx := context.Background()
	m, err := certmanager.New(certmanager.Config{
		Names:        []string{"example.com"},
		AgreeToTerms: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	report, err := (&migrate.Migration{Manager: m}).Traefik(ctx, "/data/acme.json")
	fmt.Print(report)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(m.Serve(ctx, &http.Server{Handler: mux}))
}

func Example_fromSecrets() {
	mux := http.NewServeMux()
	ctx := context.Background()
	m, err := certmanager.New(certmanager.Config{
		Subjects:     []certmanager.Subject{{Names: []string{"example.com", "www.example.com"}}},
		AgreeToTerms: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	secrets, err := os.Open("secrets.json")
	if err != nil {
		log.Fatal(err)
	}
	report, err := (&migrate.Migration{Manager: m}).Secrets(ctx, secrets)
	fmt.Print(report)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(m.Serve(ctx, &http.Server{Handler: mux}))
}

func Example_fromPem() {
	mux := http.NewServeMux()
	ctx := context.Background()
	m, err := certmanager.New(certmanager.Config{
		Names:        []string{"example.com"},
		AgreeToTerms: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	report, err := (&migrate.Migration{Manager: m, Directory: acme.LetsEncrypt}).PEM(ctx, "/etc/ssl/private")
	fmt.Print(report)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(m.Serve(ctx, &http.Server{Handler: mux}))
}
