package certmanager_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// An offlineCA is an issuer of one's own whose signing machine is off at times.
type offlineCA struct {
	certmanager.Issuer
	isOff func() bool
}

// Unwrap has all else found that the CA can do.
func (ca *offlineCA) Unwrap() certmanager.Issuer { return ca.Issuer }

func (ca *offlineCA) Issue(ctx context.Context, r certmanager.Request) (*acme.Certificate, error) {
	if ca.isOff() {
		return nil, &certmanager.UnavailableError{Err: errors.New("the signing machine is off"), RetryAfter: time.Hour}
	}
	return ca.Issuer.Issue(ctx, r)
}

// An issuer that can sign for nobody says so: then one of its names tries again, and not all of them.
func ExampleUnavailableError() {
	told := make(chan certmanager.Event, 100)
	m, err := certmanager.New(certmanager.Config{
		Names:   []string{"www.internal"},
		Issuers: []certmanager.Issuer{&offlineCA{new(certmanager.LocalCA), func() bool { return true }}},
		Storage: new(storage.Memory), Logger: slog.New(slog.DiscardHandler),
		OnEvent: func(e certmanager.Event) {
			if e.Kind == certmanager.EventUnavailable {
				told <- e
			}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- m.Run(ctx) }()
	e := <-told
	unavailable, ok := errors.AsType[*certmanager.UnavailableError](e.Err)
	fmt.Println(e.Issuer, ok)
	fmt.Println(unavailable.Err, "for", unavailable.RetryAfter)
	cancel()
	<-ended
	// Output:
	// local true
	// the signing machine is off for 1h0m0s
}
