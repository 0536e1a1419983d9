package stepca

import (
	"errors"
	"testing"

	"github.com/everseal/everseal/acme"
)

func TestRevoke(t *testing.T) {
	s := start(t)
	ctx := within(t)
	client := newAccount(t, s)
	answers := solvers(t, s, acme.TypeHTTP01)
	obtain := func() (acme.Request, *acme.Certificate) {
		request := acme.Request{Identifiers: identifiers(t, "example.test"), Key: newKey(t), Solvers: answers}
		certificate, err := client.Issue(ctx, request)
		if err != nil {
			t.Fatal(err)
		}
		return request, certificate
	}
	_, first := obtain()
	if err := client.RevokeCertificate(ctx, first.Chain[0], acme.ReasonSuperseded); err != nil {
		t.Fatal(err)
	}
	if err := client.RevokeCertificate(ctx, first.Chain[0], acme.ReasonSuperseded); !errors.Is(err, acme.ErrAlreadyRevoked) {
		t.Errorf("revoked again: %v", err)
	}
	request, second := obtain()
	if err := newAccount(t, s).RevokeCertificate(ctx, second.Chain[0], acme.ReasonUnspecified); !errors.Is(err, acme.ErrUnauthorized) {
		t.Errorf("revoked by another account: %v", err)
	}
	if err := client.RevokeCertificate(ctx, second.Chain[0], 7); !errors.Is(err, acme.ErrBadRevocationReason) {
		t.Errorf("revoked for a reason that does not exist: %v", err)
	}
	foreign, _ := newIssuer(t, "another CA's", nil, nil)
	if err := client.RevokeCertificate(ctx, foreign.Raw, acme.ReasonUnspecified); !errors.Is(err, acme.ErrMalformed) {
		t.Errorf("a certificate that the CA has not issued: %v", err)
	}
	stranger := &acme.Client{DirectoryURL: s.directory, HTTPClient: s.client()}
	if err := stranger.RevokeWithKey(ctx, second.Chain[0], newKey(t), acme.ReasonKeyCompromise); !errors.Is(err, acme.ErrUnauthorized) {
		t.Errorf("revoked by another key: %v", err)
	}
	if err := stranger.RevokeWithKey(ctx, second.Chain[0], request.Key, acme.ReasonKeyCompromise); err != nil {
		t.Errorf("revoked by the certificate's key: %v", err)
	}
	if err := client.RevokeCertificate(ctx, second.Chain[0], acme.ReasonUnspecified); !errors.Is(err, acme.ErrAlreadyRevoked) {
		t.Errorf("revoked by its key before: %v", err)
	}
}
