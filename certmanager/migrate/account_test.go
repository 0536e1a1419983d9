package migrate_test

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/migrate"
	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

// accounts returns the sources of the accounts among the items.
func accounts(items []migrate.Item) (from []string) {
	for _, item := range items {
		if item.Kind == migrate.KindAccount {
			from = append(from, item.Source)
		}
	}
	return from
}

// certbotAccount writes another account of certbot's.
func (w *world) certbotAccount(folder, id string, key crypto.Signer, status string) {
	at := "accounts/acmetest.invalid/directory/" + id
	write(w.t, folder, at+"/private_key.json", toJSON(w.t, jose.JSONWebKey{Key: key}))
	write(w.t, folder, at+"/regr.json", toJSON(w.t, map[string]any{"body": map[string]any{"status": status}, "uri": w.ca.URL + "/" + id}))
}

// TestSeveralAccounts takes the account that most certificates were obtained with, or that which the storage has.
func TestSeveralAccounts(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		all := w.obtainAll("example.com", "example.net", "example.org")
		w.certbot(folder, all)
		w.certbotAccount(folder, "0seldom", ecdsaKey(t), "valid")
		w.certbotAccount(folder, "0over", ecdsaKey(t), "deactivated")
		for name, account := range map[string]string{"example.com": "0seldom"} {
			write(t, folder, "renewal/"+name+".conf", fmt.Appendf(nil, "[renewalparams]\naccount = %s\nserver = %s\n", account, w.ca.URL))
		}
		g := &migrate.Migration{Manager: newManager(t, w.config(sets(all)...))}
		for range 2 {
			report, err := g.Certbot(t.Context(), folder)
			if err != nil {
				t.Fatal(err)
			}
			taken, left := accounts(report.Taken), accounts(report.Left)
			if len(taken) != 1 || !strings.Contains(taken[0], "e3b0c442") || len(left) != 2 {
				t.Errorf("the report is\n%v", report)
			}
			if reason := leftFor(report, "0over"); !strings.Contains(reason, "deactivated") {
				t.Errorf("it is left because %q", reason)
			}
			if reason := leftFor(report, "0seldom"); reason == "" {
				t.Error("the other account is not left")
			}
			// From now on most certificates are those of the other account.
			for _, p := range all {
				write(t, folder, "renewal/"+p.names[0]+".conf", fmt.Appendf(nil, "[renewalparams]\naccount = 0seldom\nserver = %s\n", w.ca.URL))
			}
		}
	})
}

// TestManagerHasAnAccount migrates to a manager that has registered already: its account stays.
func TestManagerHasAnAccount(t *testing.T) {
	forEachSource(t, func(t *testing.T, s source, w *world, all []pair, folder string) {
		m := newManager(t, w.config("other.example.com"))
		stop := run(t, m)
		if err := m.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		stop()
		before := stored(t, w.store)
		report, err := s.migrate(t.Context(), s.migration(t, w, all), folder)
		if err != nil {
			t.Fatal(err)
		}
		if left := accounts(report.Left); len(accounts(report.Taken)) > 0 || s.noAccount != (len(left) == 0) {
			t.Errorf("the report is\n%v", report)
		}
		if i := slices.IndexFunc(report.Left, func(i migrate.Item) bool { return strings.Contains(i.Reason, "another account") }); i < 0 && !s.noAccount {
			t.Errorf("it does not say why:\n%v", report)
		}
		for key, value := range before {
			if strings.HasPrefix(key, "accounts/") && stored(t, w.store)[key] != value {
				t.Error("the account has changed")
			}
		}
	})
}

// TestAccountKeys migrates accounts with other kinds of key, as certbot and Traefik make them.
func TestAccountKeys(t *testing.T) {
	for _, tool := range []string{"certbot", "traefik", "acme.sh", "lego 4"} {
		folder := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			w := newWorldWith(t, rsaKey(t))
			all := w.obtainAll("example.com")
			s := sources()[tool]
			s.write(w, folder, all)
			made := w.seenAccounts()
			report, err := s.migrate(t.Context(), s.migration(t, w, all), folder)
			if err != nil || len(report.Taken) != 2 {
				t.Fatalf("%s: %v, %v", tool, report, err)
			}
			m := newManager(t, w.config("example.com"))
			defer run(t, m)()
			time.Sleep(70 * 24 * time.Hour)
			if len(w.ca.Orders()) != 2 || w.seenAccounts() != made {
				t.Errorf("%s: %d orders, %d accounts made", tool, len(w.ca.Orders()), w.seenAccounts()-made)
			}
		})
	}
}

// TestAccountMadeMeanwhile has another process store an account just before one of several is: that stays, and all are left.
func TestAccountMadeMeanwhile(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.certbot(folder, nil)
		w.certbotAccount(folder, "second", ecdsaKey(t), "valid")
		other, err := newManager(t, w.config("example.com")).Account("")
		if err != nil {
			t.Fatal(err)
		}
		faulty := &storagetest.Faulty{Store: w.store}
		faulty.SetFaults(storagetest.Fault{Kind: storagetest.Slow, On: storagetest.Save, Prefix: "accounts", Times: 1, Hit: func(string) {
			if _, err := other.Transfer(t.Context(), certmanager.AccountTransfer{Key: ecdsaKey(t)}); err != nil {
				t.Error(err)
			}
		}})
		w.store = faulty
		report, err := (&migrate.Migration{Manager: newManager(t, w.config("example.com"))}).Certbot(t.Context(), folder)
		if err != nil || len(report.Taken) != 0 || len(report.Left) != 2 {
			t.Fatalf("%v, %v", report, err)
		}
		for _, item := range report.Left {
			if !strings.Contains(item.Reason, "there is another account with the CA in the storage") {
				t.Errorf("%s is left because %q", item.Source, item.Reason)
			}
		}
	})
}

// TestStrangeAccountFolders has folders of dehydrated's that are named after no CA: they are left, and say nothing of which CA has
// signed.
func TestStrangeAccountFolders(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		all := w.obtainAll("example.com")
		w.dehydrated(folder, all)
		for _, name := range []string{"no base64!", "lost"} {
			write(t, folder, "accounts/"+name+"/account_key.pem", pkcs8(t, ecdsaKey(t)))
		}
		report, err := (&migrate.Migration{Manager: newManager(t, w.config("example.com"))}).Dehydrated(t.Context(), folder)
		if err != nil || len(report.Taken) != 2 || len(report.Left) != 2 || report.Taken[0].Issuer == "" {
			t.Fatalf("%v, %v", report, err)
		}
		for _, item := range report.Left {
			if !strings.Contains(item.Reason, "not the URL of a CA's directory") {
				t.Errorf("%s is left because %q", item.Source, item.Reason)
			}
		}
	})
}

// TestAutocertAccount has autocert's account be one with the CA of Migration.Directory, or else with that of its certificates.
func TestAutocertAccount(t *testing.T) {
	const other = "https://ca.example/directory"
	production, staging, unknown := "Let's Encrypt", "(STAGING) Let's Encrypt", "Another CA"
	all := []string{acme.LetsEncrypt, acme.LetsEncryptStaging, other}
	for _, test := range []struct {
		signers   []string // of the certificates in the folder
		directory string
		issuers   []string
		want      string // with which the account is taken, or why it is left
	}{
		{nil, "", all, acme.LetsEncrypt},
		{nil, "", all[1:], "none of Config.Issuers"},
		{[]string{production}, "", all, acme.LetsEncrypt},
		{[]string{staging}, "", all, acme.LetsEncryptStaging},
		{[]string{staging}, "", all[:1], "none of Config.Issuers"},
		{[]string{production, staging}, "", all, acme.LetsEncrypt},
		{[]string{unknown}, "", all, "set Migration.Directory"},
		{[]string{unknown}, other, all, other},
		{[]string{staging}, other, all, other},
		{[]string{unknown}, other, all[:2], "none of Config.Issuers"},
	} {
		folder, config := t.TempDir(), certmanager.Config{AgreeToTerms: true, Storage: new(storage.Memory)}
		for _, directory := range test.issuers {
			config.Issuers = append(config.Issuers, &certmanager.ACME{DirectoryURL: directory})
		}
		write(t, folder, "acme_account+key", oldKey(t, ecdsaKey(t)))
		for i, signer := range test.signers {
			write(t, folder, fmt.Sprintf("%d.example.com", i), selfSigned(t, signer))
		}
		report, err := (&migrate.Migration{Manager: newManager(t, config), Directory: test.directory}).Autocert(t.Context(), folder)
		if err != nil {
			t.Fatal(err)
		}
		items := slices.Concat(report.Taken, report.Left)
		i := slices.IndexFunc(items, func(item migrate.Item) bool { return item.Kind == migrate.KindAccount })
		isTaken := i >= 0 && i < len(report.Taken) && items[i].CA == test.want
		isLeft := i >= len(report.Taken) && strings.Contains(items[i].Reason, test.want)
		if !isTaken && !isLeft {
			t.Errorf("%+v: the report is\n%v", test, report)
		}
	}
}

// selfSigned returns a certificate that says that the organization has signed it.
func selfSigned(t *testing.T, organization string) []byte {
	key := ecdsaKey(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{organization}}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
