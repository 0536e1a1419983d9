package peers

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
)

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// newClient returns a client whose key the CA has not seen.
func newClient(t testing.TB, p *pebble) *acme.Client {
	return &acme.Client{DirectoryURL: p.directory, Key: newKey(t), HTTPClient: p.client()}
}

func TestRegister(t *testing.T) {
	p := startPebble(t, pebbleSettings{})
	ctx := within(t)
	client := newClient(t, p)

	if _, err := client.FindAccount(ctx); !errors.Is(err, acme.ErrAccountDoesNotExist) {
		t.Fatalf("FindAccount before there is one: %v", err)
	}
	var terms *acme.TermsError
	if _, err := client.Register(ctx, acme.Registration{}); !errors.As(err, &terms) || terms.URL == "" {
		t.Fatalf("Register without agreeing to the terms: %v", err)
	}
	registration := acme.Registration{AgreeToTerms: true, Contact: []string{"mailto:admin@example.org"}}
	account, err := client.Register(ctx, registration)
	if err != nil {
		t.Fatal(err)
	}
	if account.Status != acme.StatusValid || len(account.Contact) != 1 || account.Contact[0] != registration.Contact[0] {
		t.Errorf("registered %+v", account)
	}
	again, err := client.Register(ctx, registration)
	if err != nil {
		t.Fatal(err)
	}
	other := &acme.Client{DirectoryURL: p.directory, Key: client.Key, HTTPClient: p.client()}
	found, err := other.FindAccount(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if again.URL != account.URL || found.URL != account.URL {
		t.Errorf("registered as %s, then %s, found as %s", account.URL, again.URL, found.URL)
	}
	if p.accounts() != 1 {
		t.Errorf("the CA has %d accounts, want 1", p.accounts())
	}
	_, err = client.Register(ctx, acme.Registration{AgreeToTerms: true, Contact: []string{"mailto:not an address"}})
	if err != nil {
		t.Errorf("the fields of a known key's registration are not looked at: %v", err)
	}
	_, err = newClient(t, p).Register(ctx, acme.Registration{AgreeToTerms: true, Contact: []string{"mailto:not an address"}})
	if !errors.Is(err, acme.ErrInvalidContact) {
		t.Errorf("Register with a malformed contact: %v", err)
	}
}

// The external account that the CA has handed out.
const (
	externalID  = "kid-1"
	externalMAC = "c2l4dHktZm91ciBieXRlcyBvZiBzZWNyZXQsIHdyaXR0ZW4gYnkgaGFuZCBmb3IgYSB0ZXN0Lg"
)

// externalAccounts are the three ways to come with one: the right one, none, and two wrong ones.
func externalAccounts(t *testing.T) map[string]*acme.ExternalAccount {
	t.Helper()
	mac, err := acme.ParseMACKey(externalMAC)
	if err != nil {
		t.Fatal(err)
	}
	wrong := []byte("another secret, as long as it takes: 32 bytes and more")
	return map[string]*acme.ExternalAccount{
		"right":      {KeyID: externalID, MACKey: mac},
		"missing":    nil,
		"wrong key":  {KeyID: externalID, MACKey: wrong},
		"unknown id": {KeyID: "kid-2", MACKey: mac},
	}
}

func startPebbleWithExternalAccount(t *testing.T) *pebble {
	t.Helper()
	p := startPebble(t, pebbleSettings{externalAccount: true})
	if err := p.database.AddExternalAccountKeyByID(externalID, externalMAC); err != nil {
		t.Fatal(err)
	}
	return p
}

// tellsNoSecret fails the test if the text has a MAC key in it, as it is or encoded.
func tellsNoSecret(t *testing.T, text string, e *acme.ExternalAccount) {
	t.Helper()
	if e == nil {
		return
	}
	for _, secret := range []string{string(e.MACKey), base64.RawURLEncoding.EncodeToString(e.MACKey), base64.StdEncoding.EncodeToString(e.MACKey)} {
		if strings.Contains(text, secret) {
			t.Errorf("the MAC key stands in %q", text)
		}
	}
}

func TestRegisterExternalAccount(t *testing.T) {
	for name, external := range externalAccounts(t) {
		t.Run(name, func(t *testing.T) {
			p := startPebbleWithExternalAccount(t)
			_, err := newClient(t, p).Register(within(t), acme.Registration{AgreeToTerms: true, ExternalAccount: external})
			if name == "right" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || p.accounts() != 0 {
				t.Fatalf("Register: %v; the CA has %d accounts", err, p.accounts())
			}
			tellsNoSecret(t, err.Error(), external)
			if external == nil && !strings.Contains(err.Error(), "ExternalAccount") {
				t.Errorf("Register without one: %v", err)
			}
			if external != nil && !errors.Is(err, acme.ErrUnauthorized) {
				t.Errorf("Register: %v", err)
			}
		})
	}
}

func TestObtainExternalAccount(t *testing.T) {
	for name, external := range externalAccounts(t) {
		t.Run(name, func(t *testing.T) {
			p := startPebbleWithExternalAccount(t)
			s := startServer(t, p, certmanager.Config{Names: []string{"bound.example.test"}, Issuers: []certmanager.Issuer{
				&certmanager.ACME{DirectoryURL: p.directory, HTTPClient: p.client(), AgreeToTerms: true, ExternalAccount: external}}})
			if name == "right" {
				s.events.wait(t, certmanager.EventObtained, "bound.example.test")
				s.served(t, "bound.example.test")
				return
			}
			event := s.events.wait(t, certmanager.EventFailed, "bound.example.test")
			tellsNoSecret(t, event.Err.Error(), external)
			if external == nil && !strings.Contains(event.Err.Error(), "ExternalAccount") {
				t.Errorf("event: %v", event.Err)
			}
			if external != nil && !errors.Is(event.Err, acme.ErrUnauthorized) {
				t.Errorf("event: %v", event.Err)
			}
			p.wants(t, 0, 0)
			_, err := handshake(within(t), p, s.address, "bound.example.test")
			if err == nil {
				t.Error("a handshake succeeded")
			}
		})
	}
}
