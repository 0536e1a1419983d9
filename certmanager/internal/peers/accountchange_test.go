package peers

import (
	"strings"
	"testing"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// TestAccountWithPebble takes an account that is bound to an external one through its life: its contact and its key are changed
// in one process while another uses it, and it is deactivated.
func TestAccountWithPebble(t *testing.T) {
	p := startPebbleWithExternalAccount(t)
	const name = "bound.example.test"
	issuer := &certmanager.ACME{DirectoryURL: p.directory, HTTPClient: p.client(), AgreeToTerms: true, ExternalAccount: externalAccounts(t)["right"]}
	config := certmanager.Config{Names: []string{name}, Issuers: []certmanager.Issuer{issuer}, Storage: new(storage.Memory)}
	s := startServer(t, p, config)
	s.events.wait(t, certmanager.EventObtained, name)

	operator, err := certmanager.New(config)
	if err != nil {
		t.Fatal(err)
	}
	account, err := operator.Account(issuer.ID())
	if err != nil {
		t.Fatal(err)
	}
	if err := account.UpdateContact(within(t), "admin@example.org"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := account.ChangeKey(within(t)); err != nil {
			t.Fatal(err)
		}
		if err := s.Renew(within(t), name); err != nil {
			t.Fatalf("a member that has the old key: %v", err)
		}
	}
	if n := p.accounts(); n != 1 {
		t.Errorf("the CA has %d accounts, want 1", n)
	}
	if err := account.Deactivate(within(t)); err != nil {
		t.Fatal(err)
	}
	if err := account.Deactivate(within(t)); err != nil {
		t.Errorf("once more: %v", err)
	}
	err = s.Renew(within(t), name)
	if err == nil || !strings.Contains(err.Error(), "was deactivated") || !strings.Contains(err.Error(), "delete the stored record accounts/") {
		t.Errorf("Renew with an account that was deactivated: %v", err)
	}
	if n := p.accounts(); n != 1 {
		t.Errorf("the CA has %d accounts, want 1", n)
	}
	s.served(t, name)
}
