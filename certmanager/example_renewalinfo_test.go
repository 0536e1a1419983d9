package certmanager_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// An earlyCA is an issuer of one's own that has what it signs renewed early.
type earlyCA struct{ certmanager.Issuer }

// Unwrap has all else found that the CA can do.
func (ca *earlyCA) Unwrap() certmanager.Issuer { return ca.Issuer }

// RenewalInfo suggests the second quarter of the lifetime.
func (ca *earlyCA) RenewalInfo(_ context.Context, leaf *x509.Certificate) (*acme.RenewalInfo, error) {
	lifetime := leaf.NotAfter.Sub(leaf.NotBefore)
	if lifetime < 24*time.Hour {
		return nil, fmt.Errorf("what lives for %v is renewed by its age: %w", lifetime, errors.ErrUnsupported)
	}
	window := acme.Window{Start: leaf.NotBefore.Add(lifetime / 4), End: leaf.NotBefore.Add(lifetime / 2)}
	return &acme.RenewalInfo{SuggestedWindow: window, ExplanationURL: "https://ca.internal/renewals", RetryAfter: 6 * time.Hour}, nil
}

// An issuer of one's own says when to renew what it has signed, as CAs with renewal information do.
func ExampleIssuer_renewalInfo() {
	ca := &earlyCA{&certmanager.LocalCA{Name: "local"}}
	begin := time.Date(2026, time.November, 1, 0, 0, 0, 0, time.UTC)
	info, err := ca.RenewalInfo(context.Background(), &x509.Certificate{NotBefore: begin, NotAfter: begin.AddDate(0, 0, 40)})
	fmt.Println(info.SuggestedWindow.Start.Format(time.DateOnly), info.SuggestedWindow.End.Format(time.DateOnly), err)
	_, err = certmanager.New(certmanager.Config{Names: []string{"www.internal"}, Issuers: []certmanager.Issuer{ca}, Storage: new(storage.Memory)})
	fmt.Println(err)
	// Output:
	// 2026-11-11 2026-11-21 <nil>
	// <nil>
}
