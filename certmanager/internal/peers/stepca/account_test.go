package stepca

import (
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/smallstep/certificates/authority/provisioner"

	"github.com/everseal/everseal/acme"
)

func TestRegister(t *testing.T) {
	const termsURL = "https://ca.test/terms"
	s := start(t, func(p *provisioner.ACME) { p.TermsOfService = termsURL })
	ctx := within(t)
	client := newClient(t, s)
	if _, err := client.FindAccount(ctx); !errors.Is(err, acme.ErrAccountDoesNotExist) {
		t.Errorf("FindAccount before there is one: %v", err)
	}
	var terms *acme.TermsError
	if _, err := client.Register(ctx, acme.Registration{}); !errors.As(err, &terms) || terms.URL != termsURL {
		t.Errorf("Register without agreeing to the terms: %v", err)
	}
	registration := acme.Registration{AgreeToTerms: true, Contact: []string{"mailto:admin@example.org"}}
	account, err := client.Register(ctx, registration)
	if err != nil || account.Status != acme.StatusValid || !slices.Equal(account.Contact, registration.Contact) {
		t.Fatalf("Register: %+v, %v", account, err)
	}
	again, err := client.Register(ctx, registration)
	if err != nil || again.URL != account.URL {
		t.Errorf("Register again: %+v, %v; want the account %s", again, err, account.URL)
	}
	other := &acme.Client{DirectoryURL: s.directory, Key: client.Key, HTTPClient: s.client()}
	found, err := other.FindAccount(ctx)
	if err != nil || found.URL != account.URL {
		t.Errorf("FindAccount: %+v, %v; want the account %s", found, err, account.URL)
	}
	if n := s.made(t, accounts); n != 1 {
		t.Errorf("the CA has %d accounts, want 1", n)
	}
}

func TestAccountChanges(t *testing.T) {
	s := start(t)
	ctx := within(t)
	client := newAccount(t, s)
	contact := []string{"mailto:new@example.org"}
	if account, err := client.UpdateContact(ctx, contact); err != nil || !slices.Equal(account.Contact, contact) {
		t.Errorf("UpdateContact: %+v, %v", account, err)
	}
	if account, err := client.GetAccount(ctx); err != nil || !slices.Equal(account.Contact, contact) || account.Status != acme.StatusValid {
		t.Errorf("GetAccount: %+v, %v", account, err)
	}
	if err := client.DeactivateAccount(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := client.NewOrder(ctx, acme.OrderRequest{Identifiers: identifiers(t, "example.test")}); !errors.Is(err, acme.ErrUnauthorized) {
		t.Errorf("an order of a deactivated account: %v", err)
	}
}

// newExternalAccount has the CA hand out the key that an account is bound by.
func newExternalAccount(t *testing.T, s *authorityServer) *acme.ExternalAccount {
	t.Helper()
	key, err := s.accounts.CreateExternalAccountKey(t.Context(), s.provisioner.ID, "")
	if err != nil {
		t.Fatal(err)
	}
	return &acme.ExternalAccount{KeyID: key.ID, MACKey: key.HmacKey}
}

func requireExternalAccount(p *provisioner.ACME) { p.RequireEAB = true }

// tellsNoSecret fails the test if the text has the MAC key in it, as it is or encoded.
func tellsNoSecret(t *testing.T, text string, e *acme.ExternalAccount) {
	t.Helper()
	for _, secret := range []string{string(e.MACKey), base64.RawURLEncoding.EncodeToString(e.MACKey), base64.RawStdEncoding.EncodeToString(e.MACKey)} {
		if strings.Contains(text, secret) {
			t.Errorf("the MAC key stands in %q", text)
		}
	}
}

func TestRegisterExternalAccount(t *testing.T) {
	s := start(t, requireExternalAccount)
	client := newClient(t, s)
	if _, err := client.Register(within(t), acme.Registration{ExternalAccount: newExternalAccount(t, s)}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.NewOrder(within(t), acme.OrderRequest{Identifiers: identifiers(t, "example.test")}); err != nil {
		t.Errorf("an order of the bound account: %v", err)
	}
	// The CA's keys have 32 bytes, which RFC 7518 allows for HS256 only.
	short := newExternalAccount(t, s)
	short.Algorithm = "HS384"
	_, err := newClient(t, s).Register(within(t), acme.Registration{ExternalAccount: short})
	if err == nil || !strings.Contains(err.Error(), "32 bytes") {
		t.Fatalf("HS384: %v", err)
	}
	tellsNoSecret(t, err.Error(), short)
}

func TestRegisterExternalAccountRefused(t *testing.T) {
	s := start(t, requireExternalAccount)
	used, right := newExternalAccount(t, s), newExternalAccount(t, s)
	if _, err := newClient(t, s).Register(within(t), acme.Registration{ExternalAccount: used}); err != nil {
		t.Fatal(err)
	}
	refused := map[string]*acme.ExternalAccount{
		"wrong key":   {KeyID: right.KeyID, MACKey: append([]byte{right.MACKey[0] + 1}, right.MACKey[1:]...)},
		"unknown id":  {KeyID: "unknown", MACKey: right.MACKey},
		"used before": used,
	}
	for name, external := range refused {
		_, err := newClient(t, s).Register(within(t), acme.Registration{ExternalAccount: external})
		if !errors.Is(err, acme.ErrServerInternal) || !strings.Contains(err.Error(), external.KeyID) { // that is what this CA calls it
			t.Errorf("%s: %v", name, err)
			continue
		}
		tellsNoSecret(t, err.Error(), external)
	}
	before := s.asked("new-account")
	_, err := newClient(t, s).Register(within(t), acme.Registration{})
	if err == nil || !strings.Contains(err.Error(), "ExternalAccount") || s.asked("new-account") != before {
		t.Errorf("without one, asked for after %d requests for an account: %v", s.asked("new-account")-before, err)
	}
	if n := s.made(t, accounts); n != 1 {
		t.Errorf("the CA has %d accounts, want 1", n)
	}
}

// What the CA lacks is an error that says so.
func TestLacking(t *testing.T) {
	s := start(t)
	ctx := within(t)
	client := newAccount(t, s)
	if _, err := client.NewAuthorization(ctx, identifiers(t, "example.test")[0]); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("NewAuthorization: %v", err)
	}
	root, key := newIssuer(t, "root", nil, nil)
	certificate, _ := newIssuer(t, "below", root, key)
	if _, err := client.GetRenewalInfo(ctx, certificate); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("GetRenewalInfo: %v", err)
	}
	wanted := acme.OrderRequest{Identifiers: identifiers(t, "example.test"), Profile: "shortlived"}
	if _, err := client.NewOrder(ctx, wanted); !errors.Is(err, acme.ErrInvalidProfile) || s.made(t, orders) != 0 {
		t.Errorf("an order with a profile: %v", err)
	}
	wanted.Profile = ""
	order, err := client.NewOrder(ctx, wanted)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.DeactivateAuthorization(ctx, order.Authorizations[0]); !errors.Is(err, acme.ErrMalformed) {
		t.Errorf("DeactivateAuthorization: %v", err)
	}
	if _, err := client.GetOrder(ctx, order.URL+"0"); !errors.Is(err, acme.ErrMalformed) {
		t.Errorf("an order that does not exist: %v", err)
	}
}

// The directory has a resource for it, but no key is changed: the account keeps the one it has.
func TestChangeKey(t *testing.T) {
	s := start(t)
	ctx := within(t)
	client := newAccount(t, s)
	account, err := client.GetAccount(ctx)
	if err != nil {
		t.Fatal(err)
	}
	const words = "The requested operation is not implemented"
	var problem *acme.Problem
	err = client.ChangeKey(ctx, newKey(t))
	if !errors.As(err, &problem) || problem.Status != http.StatusNotImplemented || problem.Detail != words || !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("ChangeKey: %v; want %q, and that it is unsupported", err, words)
	}
	again := &acme.Client{DirectoryURL: s.directory, Key: client.Key, HTTPClient: s.client()}
	if found, err := again.FindAccount(ctx); err != nil || found.URL != account.URL {
		t.Errorf("the account of the key is %+v, %v; want %s", found, err, account.URL)
	}
	if _, err := client.NewOrder(ctx, acme.OrderRequest{Identifiers: identifiers(t, "example.test")}); err != nil {
		t.Errorf("an order afterwards: %v", err)
	}
}

// The list of orders is a bare array here, which is not what RFC 8555 §7.1.2.1 says.
func TestOrders(t *testing.T) {
	s := start(t)
	client := newAccount(t, s)
	order, err := client.NewOrder(within(t), acme.OrderRequest{Identifiers: identifiers(t, "example.test")})
	if err != nil {
		t.Fatal(err)
	}
	var urls []string
	for url, err := range client.Orders(within(t)) {
		if err != nil {
			t.Fatal(err)
		}
		urls = append(urls, url)
	}
	if !slices.Equal(urls, []string{order.URL}) {
		t.Errorf("the orders are %q, want %s alone", urls, order.URL)
	}
}
