package certmanager_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// refusedIssuers are configurations whose issuers can't work.
func refusedIssuers() []refusedConfig {
	someAccount := &acme.ExternalAccount{KeyID: "kid-1", MACKey: []byte("a secret of at least thirty-two bytes")}
	return []refusedConfig{
		{"a CA that wants an external account", withIssuer(certmanager.ACME{DirectoryURL: acme.ZeroSSL, AgreeToTerms: true}), []string{"ACME.ExternalAccount", "ZeroSSL", "missing"}},
		{"an external account without its ID", withIssuer(certmanager.ACME{DirectoryURL: "https://ca.example.com/", ExternalAccount: &acme.ExternalAccount{KeyID: " ", MACKey: []byte("secret")}}), []string{"ACME.ExternalAccount", "KeyID"}},
		{"an external account with a blank", withIssuer(certmanager.ACME{DirectoryURL: "https://ca.example.com/", ExternalAccount: &acme.ExternalAccount{KeyID: "kid-1\n", MACKey: []byte("secret")}}), []string{"ACME.ExternalAccount", `"kid-1\n"`, "blank"}},
		{"an external account without its key", withIssuer(certmanager.ACME{DirectoryURL: "https://ca.example.com/", ExternalAccount: &acme.ExternalAccount{KeyID: "kid-1"}}), []string{"ACME.ExternalAccount", `"kid-1"`, "ParseMACKey"}},
		{"terms of another public CA", withIssuer(certmanager.ACME{DirectoryURL: acme.Actalis, ExternalAccount: someAccount}), []string{"AgreeToTerms", "Actalis"}},
		{"terms of a CA within a wrapper", certmanager.Config{Issuers: []certmanager.Issuer{wrapper{Issuer: &certmanager.ACME{}}}}, []string{"AgreeToTerms", "Let's Encrypt"}},
		{"a lifetime that is none", withIssuer(certmanager.ACME{DirectoryURL: "https://ca.example.com/", Lifetime: -1}), []string{"ACME.Lifetime", "-1ns"}},
		{"a lifetime that can't be chosen", withIssuer(certmanager.ACME{AgreeToTerms: true, Lifetime: time.Hour}), []string{"ACME.Lifetime", "ACME.Profile"}},
		{"a nil solver of a CA", withIssuer(certmanager.ACME{DirectoryURL: "https://ca.example.com/", Solvers: []acme.Solver{nil}}), []string{"ACME.Solvers"}},
		{"staging nowhere", withIssuer(certmanager.ACME{DirectoryURL: "https://ca.example.com/", Staging: &certmanager.ACME{}}), []string{"ACME.Staging", "DirectoryURL"}},
		{"staging in production", withIssuer(certmanager.ACME{DirectoryURL: "https://ca.example.com/", Staging: &certmanager.ACME{DirectoryURL: "https://ca.example.com/"}}), []string{"ACME.Staging", "CA itself"}},
		{"staging that wants an external account", withIssuer(certmanager.ACME{DirectoryURL: acme.GoogleTrustServices, AgreeToTerms: true, ExternalAccount: someAccount, Staging: &certmanager.ACME{}}), []string{"ACME.Staging: ACME.ExternalAccount is missing", "test environment"}},
		{"failures less than none", certmanager.Config{Issuers: []certmanager.Issuer{new(certmanager.LocalCA)}, Failover: -1}, []string{"Config.Failover", "-1"}},
		{"more names than the CA takes", certmanager.Config{Issuers: []certmanager.Issuer{&certmanager.ACME{AgreeToTerms: true}}, Subjects: []certmanager.Subject{{Names: manyNames("site%d.example.com", 26), Profile: "tlsserver"}}}, []string{"Let's Encrypt", "25", "26"}},
		{"names that the local CA may not sign for", certmanager.Config{Names: []string{"example.com"}, Issuers: []certmanager.Issuer{&certmanager.LocalCA{Permitted: []string{"internal"}}}}, []string{"example.com", "issuer local", "internal"}},
		{"constraints that are none", certmanager.Config{Issuers: []certmanager.Issuer{&certmanager.LocalCA{Permitted: []string{"*.internal"}}}}, []string{"LocalCA.Permitted", "wildcard"}},
		{"excluded rubbish", certmanager.Config{Issuers: []certmanager.Issuer{&certmanager.LocalCA{Excluded: []string{"10.0.0.0/99"}}}}, []string{"LocalCA.Excluded", "10.0.0.0/8"}},
		{"certificates of a local CA that live too long", certmanager.Config{Issuers: []certmanager.Issuer{&certmanager.LocalCA{Lifetime: 400 * day}}}, []string{"LocalCA.Lifetime", "9600h"}},
	}
}

func TestNewRefusesIssuers(t *testing.T) {
	for _, test := range refusedIssuers() {
		config := test.config
		config.Storage = new(storage.Memory)
		m, err := certmanager.New(config)
		if err == nil || m != nil {
			t.Errorf("%s: New returns %v, %v", test.name, m, err)
			continue
		}
		for _, word := range test.says {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%s: the error lacks %s: %v", test.name, word, err)
			}
		}
		if text := err.Error(); strings.Contains(text, "secret") || strings.Count(text, "certmanager:") != 1 {
			t.Errorf("%s: the error is %v", test.name, err)
		}
	}
}

// What one issuer does not support is left to those that do; Manage refuses what no issuer supports.
func TestNamesThatOneIssuerDoesNotSupport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t)
		internal := &certmanager.LocalCA{Permitted: []string{"internal"}}
		m, stop := runQuietly(t, certmanager.Config{
			Names: []string{"example.com", "db.internal"}, Issuers: []certmanager.Issuer{wrapper{Issuer: internal, requests: same}, c.first}, Storage: new(storage.Memory),
		})
		defer stop()
		awaitValid(t, m, 2)
		for name, want := range map[string]string{"example.com": "first", "db.internal": "wrapper"} {
			if s := statusOf(t, m, name); s.Issuer != want {
				t.Errorf("%s: a certificate of %q, want %q", name, s.Issuer, want)
			}
		}
		c.wantAsked(t, "once", "first")

		m, err := certmanager.New(certmanager.Config{Issuers: []certmanager.Issuer{wrapper{Issuer: internal, requests: same}}, Storage: new(storage.Memory)})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Manage(certmanager.Subject{Names: []string{"example.org"}}); err == nil || !strings.Contains(err.Error(), "example.org is not among") {
			t.Errorf("Manage returns %v", err)
		}
		if n := len(statuses(m)); n != 0 {
			t.Errorf("%d certificates are managed", n)
		}
	})
}

func same(r certmanager.Request) certmanager.Request { return r }
