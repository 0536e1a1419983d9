package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// production serves public names with certificates of a public CA, until ctx ends. What it does is
// logged by slog.
func production(ctx context.Context, o *options, stdout io.Writer) error {
	config := certmanager.Config{
		Names:        o.domains,
		Email:        o.email,
		Issuers:      []certmanager.Issuer{&certmanager.ACME{DirectoryURL: o.ca}},
		AgreeToTerms: o.agree,
		DefaultName:  o.domains[0],
	}
	if o.storage != "" {
		config.Storage = storage.Dir(o.storage)
	}
	manager, err := certmanager.New(config)
	if err != nil {
		return &usageError{err}
	}
	for _, domain := range o.domains {
		fmt.Fprintf(stdout, "The page will be at https://%s/ once its certificate has come.\n", domain)
	}
	return manager.Serve(ctx, &http.Server{
		Addr:              o.addr,
		Handler:           newPage(manager),
		ReadHeaderTimeout: 10 * time.Second,
	})
}
