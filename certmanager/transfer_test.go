package certmanager_test

import (
	"context"
	"crypto/ed25519"
	"crypto/elliptic"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

// TestTransfer transfers what the first issuer, another one, and nobody that is known has signed.
func TestTransfer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(storage.Memory)
		config := certmanager.Config{Names: []string{"example.com"}, Issuers: []certmanager.Issuer{newLocalCA(t, "ours"), newLocalCA(t, "other")}, Storage: store}
		for _, issuer := range []string{"", "ours", "other"} {
			chain, key := elsewhere(t, ecdsaKey(t, elliptic.P256()), time.Duration(90+len(issuer))*24*time.Hour, "example.com")
			time.Sleep(time.Hour)
			m, err := certmanager.New(config)
			if err != nil {
				t.Fatal(err)
			}
			transfer := certmanager.Transfer{Certificate: chain, Key: key, Issuer: issuer, DryRun: true}
			for _, want := range []bool{true, true, false} { // a dry run, in earnest, again
				done, err := m.Transfer(t.Context(), transfer)
				if err != nil || done.Changed != want || done.KeyType != certmanager.ECDSAP256 || len(done.Names) != 1 {
					t.Errorf("%q: %+v, %v", issuer, done, err)
				}
				if _, ok := m.Certificate("example.com"); ok == transfer.DryRun {
					t.Errorf("%q: served: %t", issuer, ok)
				}
				transfer.DryRun = false
			}
			status := statusOf(t, m, "example.com")
			if want := issuer; status.Imported != (want == "") || want != "" && status.Issuer != want {
				t.Errorf("%q: %+v", issuer, status)
			}
		}
	})
}

// TestTransferReplaced transfers again what the manager has replaced, perhaps because it was revoked, by what ends sooner: it
// stays replaced.
func TestTransferReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, local := newWorld(t), newLocalCA(t, "ours")
		local.lifetime = 10 * 24 * time.Hour
		m, stop := w.running(w.fromLocalCA(local, "example.com"))
		defer stop()
		other, otherKey := elsewhere(t, ecdsaKey(t, elliptic.P256()), 100*24*time.Hour, "example.com")
		time.Sleep(time.Hour)
		chain, key := elsewhere(t, ecdsaKey(t, elliptic.P256()), 90*24*time.Hour, "example.com")
		first := certmanager.Transfer{Certificate: chain, Key: key}
		if done, err := m.Transfer(t.Context(), first); err != nil || !done.Changed {
			t.Fatalf("%+v, %v", done, err)
		}
		time.Sleep(time.Until(statusOf(t, m, "example.com").Next) + time.Hour)
		for what, again := range map[string]func() error{
			"transferred": func() error { _, err := m.Transfer(t.Context(), first); return err },
			"imported":    func() error { return m.Import(t.Context(), chain, key) },
			"another": func() error {
				_, err := m.Transfer(t.Context(), certmanager.Transfer{Certificate: other, Key: otherKey})
				return err
			},
		} {
			if err := again(); !errors.Is(err, certmanager.ErrNotNewer) || !strings.Contains(err.Error(), "the manager has obtained another since") {
				t.Errorf("%s again: %v", what, err)
			}
		}
		if status := statusOf(t, m, "example.com"); status.Imported || time.Until(status.NotAfter) > 10*24*time.Hour {
			t.Errorf("%+v", status)
		}
		if err := m.Import(t.Context(), other, otherKey); err != nil {
			t.Errorf("one that was never there, by Import: %v", err)
		}
	})
}

// TestTransferRefused transfers what is not to be taken: nothing is stored.
func TestTransferRefused(t *testing.T) {
	chain, key := elsewhere(t, ecdsaKey(t, elliptic.P256()), time.Hour, "example.com")
	other, otherKey := elsewhere(t, ecdsaKey(t, elliptic.P256()), time.Hour, "example.com", "www.example.com")
	transfer := certmanager.Transfer{Certificate: chain, Key: key}
	deny := func(context.Context, certmanager.Question) error {
		return fmt.Errorf("no: %w", certmanager.ErrDenied)
	}
	for name, test := range map[string]struct {
		change   func(*certmanager.Config)
		transfer certmanager.Transfer
		want     error
		text     string
	}{
		"not managed":      {func(*certmanager.Config) {}, transfer, certmanager.ErrNotManaged, "have them in the Config"},
		"managed singly":   {func(c *certmanager.Config) { c.Names = []string{"www.example.com"} }, certmanager.Transfer{Certificate: other, Key: otherKey}, certmanager.ErrNotManaged, "www.example.com is in that of www.example.com"},
		"under a wildcard": {func(c *certmanager.Config) { c.Names, c.OnDemand = []string{"*.com"}, deny }, transfer, certmanager.ErrNotManaged, "in that of *.com"},
		"denied":           {func(c *certmanager.Config) { c.OnDemand = deny }, transfer, certmanager.ErrDenied, "no"},
		"two on demand":    {func(c *certmanager.Config) { c.OnDemand = deny }, certmanager.Transfer{Certificate: other, Key: otherKey}, certmanager.ErrNotManaged, ""},
		"reads only":       {func(c *certmanager.Config) { c.Names, c.Role = []string{"example.com"}, certmanager.RoleServe }, transfer, nil, "only serves"},
		"strange issuer":   {func(c *certmanager.Config) { c.Names = []string{"example.com"} }, certmanager.Transfer{Certificate: chain, Key: key, Issuer: "stranger"}, nil, "stranger"},
		"storage": {func(c *certmanager.Config) {
			faulty := &storagetest.Faulty{Store: c.Storage}
			faulty.SetFaults(storagetest.Fault{})
			c.Names, c.Storage = []string{"example.com"}, faulty
		}, transfer, certmanager.ErrStorage, "the storage fails"},
	} {
		store := new(storage.Memory)
		config := certmanager.Config{Issuers: []certmanager.Issuer{newLocalCA(t, "ours")}, Storage: store}
		test.change(&config)
		m, err := certmanager.New(config)
		if err != nil {
			t.Fatal(err)
		}
		_, err = m.Transfer(t.Context(), test.transfer)
		if err == nil || test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) || strings.Count(err.Error(), "certmanager: ") > 1 && test.want != certmanager.ErrDenied {
			t.Errorf("%s: %v", name, err)
		}
		for key := range store.List(t.Context(), "") {
			t.Errorf("%s: %s is stored", name, key)
		}
	}
}

// TestIssuerAt asks for issuers by what tools know of a CA.
func TestIssuerAt(t *testing.T) {
	at := func(url string) certmanager.Issuer { return &certmanager.ACME{DirectoryURL: url} }
	one, rsa, ecc := at("https://one.example/directory"), at("https://two.example:14000/rsa"), at("https://two.example:14000/ecc")
	m, err := certmanager.New(certmanager.Config{Issuers: []certmanager.Issuer{newLocalCA(t, "ours"), one, rsa, ecc}, AgreeToTerms: true, Storage: new(storage.Memory)})
	if err != nil {
		t.Fatal(err)
	}
	for ca, want := range map[string]string{
		"https://one.example/directory": one.ID(), "https://ONE.example/acme/certificate/1": one.ID(), "one.example": one.ID(),
		"https://two.example:14000/ecc": ecc.ID(), "two.example:14000": "", "https://two.example:14000/": "", "two.example": "",
		"one.example.": "", "": "", "ours": "", "https://": "", "\x00": "", "://": "",
	} {
		if got := m.IssuerAt(ca); got != want {
			t.Errorf("%q: %q, want %q", ca, got, want)
		}
	}
}

// TestAccountTransfer transfers accounts: the first is stored, and orders are made with it; others are refused.
func TestAccountTransfer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m, err := certmanager.New(w.config())
		if err != nil {
			t.Fatal(err)
		}
		a, err := m.Account("")
		if err != nil {
			t.Fatal(err)
		}
		first := certmanager.AccountTransfer{Key: ecdsaKey(t, elliptic.P384()), URL: w.ca.URL + "/account/1", DryRun: true}
		for _, want := range []bool{true, true, false} { // a dry run, in earnest, again
			changed, err := a.Transfer(t.Context(), first)
			if err != nil || changed != want {
				t.Errorf("%t, %v", changed, err)
			}
			first.DryRun = false
		}
		if _, item := w.record("accounts"); !strings.Contains(string(item.Value), "/account/1") {
			t.Errorf("stored is %s", item.Value)
		}
		_, strange, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, key := range map[string]certmanager.AccountTransfer{
			"another": {Key: ecdsaKey(t, elliptic.P256())}, "another in a dry run": {Key: ecdsaKey(t, elliptic.P256()), DryRun: true},
			"no key": {}, "strange key": {Key: strange}, "P-521": {Key: ecdsaKey(t, elliptic.P521())},
		} {
			_, err := a.Transfer(t.Context(), key)
			if err == nil || strings.HasPrefix(name, "another") != errors.Is(err, certmanager.ErrOtherAccount) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// TestAccountTransferURL transfers an account whose URL leads elsewhere: it is not believed.
func TestAccountTransferURL(t *testing.T) {
	for url, kept := range map[string]bool{
		"": false, "https://evil.example/account/1": false, "http://acmetest.invalid/account/1": false, "https://x@acmetest.invalid/1": false, "\x00": false,
		"https://acmetest.invalid/" + strings.Repeat("x", 2000): false, "https://ACMETEST.invalid/account/1": true,
	} {
		w := newWorld(t)
		m, err := certmanager.New(w.config())
		if err != nil {
			t.Fatal(err)
		}
		a, err := m.Account("")
		if err != nil {
			t.Fatal(err)
		}
		if changed, err := a.Transfer(t.Context(), certmanager.AccountTransfer{Key: ecdsaKey(t, elliptic.P256()), URL: url}); err != nil || !changed {
			t.Errorf("%.40q: %v", url, err)
		}
		if _, item := w.record("accounts"); strings.Contains(string(item.Value), `"url"`) != kept {
			t.Errorf("%.40q: stored is %.300s", url, item.Value)
		}
	}
}
