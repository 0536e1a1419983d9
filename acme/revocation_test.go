package acme_test

import (
	"errors"
	"reflect"
	"testing"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
)

func TestRevoke(t *testing.T) {
	c := newCA(t)
	request := acme.Request{Identifiers: identifiers(t, "example.com"), Key: newKey(t)}
	first, err := c.issue(t, t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, c.client.RevokeCertificate(t.Context(), first.Chain[0], 7), acme.ErrBadRevocationReason)
	if err := c.client.RevokeCertificate(t.Context(), first.Chain[0], acme.ReasonSuperseded); err != nil {
		t.Fatal(err)
	}
	if reason, revoked := c.Revoked(first.Leaf.SerialNumber); !revoked || reason != int(acme.ReasonSuperseded) {
		t.Errorf("revoked: %t, for reason %d", revoked, reason)
	}
	wantError(t, c.client.RevokeCertificate(t.Context(), first.Chain[0], acme.ReasonSuperseded), acme.ErrAlreadyRevoked)

	second, err := c.issue(t, t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	stranger := &acme.Client{DirectoryURL: c.URL, HTTPClient: c.client.HTTPClient}
	wantError(t, stranger.RevokeWithKey(t.Context(), second.Chain[0], newKey(t), acme.ReasonKeyCompromise), nil, "revoke")
	wantError(t, stranger.RevokeWithKey(t.Context(), second.Chain[0], nil, acme.ReasonKeyCompromise), nil, "key is missing")
	if err := stranger.RevokeWithKey(t.Context(), second.Chain[0], request.Key, acme.ReasonKeyCompromise); err != nil {
		t.Fatal(err)
	}
	if _, revoked := c.Revoked(second.Leaf.SerialNumber); !revoked {
		t.Error("the certificate's key has revoked nothing")
	}
	byKey := c.requests("revokeCert")[len(c.requests("revokeCert"))-1].protected
	if !reflect.DeepEqual(byKey["jwk"], any(publicJWK(t, request.Key))) || byKey["kid"] != nil {
		t.Errorf("signed by the certificate's key with the header %v", byKey)
	}
	bare := fake{"/directory": answer(200, bareDirectory)}.client(t)
	bare.AccountURL = fakeOrigin + "/account/1"
	wantError(t, bare.RevokeCertificate(t.Context(), first.Chain[0], acme.ReasonUnspecified), errors.ErrUnsupported, "revokeCert")
}

func TestProfile(t *testing.T) {
	c := newUnregisteredCA(t, func(s *acmetest.Server) {
		s.Profiles = map[string]acmetest.Profile{"short": {Description: "a week"}}
	})
	if _, err := c.client.Register(t.Context(), acme.Registration{AgreeToTerms: true}); err != nil {
		t.Fatal(err)
	}
	d, err := c.client.GetDirectory(t.Context())
	if err != nil || d.Meta.Profiles["short"] != "a week" {
		t.Errorf("profiles %v, %v", d.Meta.Profiles, err)
	}
	if _, err := c.issue(t, t.Context(), acme.Request{Identifiers: identifiers(t, "example.com"), Profile: "short"}); err != nil {
		t.Fatal(err)
	}
	if got := c.Orders()[0].Profile; got != "short" {
		t.Errorf("the order's profile is %q", got)
	}
	_, err = c.issue(t, t.Context(), acme.Request{Identifiers: identifiers(t, "example.com"), Profile: "none"})
	wantError(t, err, acme.ErrInvalidProfile)
}

func TestPreauthorization(t *testing.T) {
	c := newCA(t)
	_, err := c.client.NewAuthorization(t.Context(), identifiers(t, "*.example.com")[0])
	wantError(t, err, acme.ErrMalformed, "new authorization", "wildcard")
	a, err := c.client.NewAuthorization(t.Context(), identifiers(t, "example.com")[0])
	if err != nil || a.Status != acme.StatusPending || a.URL == "" || len(a.Challenges) == 0 {
		t.Fatalf("%+v, %v", a, err)
	}
	if err := c.client.DeactivateAuthorization(t.Context(), a.URL); err != nil {
		t.Fatal(err)
	}
	again, err := c.client.GetAuthorization(t.Context(), a.URL)
	if err != nil || again.Status != acme.StatusDeactivated {
		t.Errorf("%+v, %v", again, err)
	}
}
