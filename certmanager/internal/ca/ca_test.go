package ca_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/ca"
)

func names(n int) (all []acme.Identifier) {
	for i := range n {
		all = append(all, acme.Identifier{Type: acme.TypeDNS, Value: fmt.Sprintf("site%d.example.com", i)})
	}
	return all
}

func TestCheck(t *testing.T) {
	address := []acme.Identifier{{Type: acme.TypeIP, Value: "192.0.2.1"}}
	for _, test := range []struct {
		directory   string
		identifiers []acme.Identifier
		profile     string
		says        string // empty: it may
	}{
		{acme.LetsEncrypt, names(100), "", ""},
		{acme.LetsEncrypt, names(101), "", "at most 100 names in a certificate of profile classic, and here are 101"},
		{acme.LetsEncrypt, names(26), "tlsserver", "at most 25 names"},
		{acme.LetsEncryptStaging, names(26), "shortlived", "at most 25 names"},
		{acme.LetsEncrypt, names(100), "a later one", ""},
		{acme.LetsEncrypt, address, "", ""},
		{acme.LetsEncrypt, append(names(25), address...), "", "profile shortlived, and here are 26"},
		{acme.LetsEncrypt, address, "classic", "no certificates of profile classic for IP addresses such as 192.0.2.1"},
		{acme.ZeroSSL, address, "", "ZeroSSL has no certificates for IP addresses"},
		{acme.ZeroSSL, names(1000), "", ""},
		{"https://ca.example.com/directory", append(names(1000), address...), "", ""},
	} {
		err := ca.At(test.directory).Check(test.identifiers, test.profile)
		if (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s, %d names, profile %q: %v, want %q", test.directory, len(test.identifiers), test.profile, err, test.says)
		}
	}
}

func TestProfileForAddresses(t *testing.T) {
	address := []acme.Identifier{{Type: acme.TypeIP, Value: "192.0.2.1"}}
	for directory, want := range map[string]string{acme.LetsEncrypt: "shortlived", acme.LetsEncryptStaging: "shortlived", acme.GoogleTrustServices: ""} {
		if got := ca.At(directory).Profile(address); got != want {
			t.Errorf("%s: %q, want %q", directory, got, want)
		}
		if got := ca.At(directory).Profile(names(3)); got != "" {
			t.Errorf("%s: %q for names", directory, got)
		}
	}
}

// What is given back, and how soon, is what the CA publishes.
func TestLimits(t *testing.T) {
	of, staging := ca.At(acme.LetsEncrypt).Limits, ca.At(acme.LetsEncryptStaging).Limits
	for name, test := range map[string]struct {
		limit ca.Limit
		next  time.Duration // until one is given back, as published
	}{
		"accounts":               {of.AccountsPerAddress, 18 * time.Minute},
		"accounts of a network":  {of.AccountsPerNetwork, 22 * time.Second},
		"orders":                 {of.Orders, 36 * time.Second},
		"domain":                 {of.CertificatesPerDomain, 202 * time.Minute},
		"set":                    {of.CertificatesPerSet, 34 * time.Hour},
		"failures":               {of.Failures, 12 * time.Minute},
		"failures in a row":      {of.FailuresInRow, 24 * time.Hour},
		"accounts at staging":    {staging.AccountsPerAddress, 216 * time.Second},
		"failures at staging":    {staging.Failures, 18 * time.Second},
		"many orders at staging": {staging.Orders, 7200 * time.Millisecond},
	} {
		if next := test.limit.Per / time.Duration(test.limit.Count); next > test.next || next < test.next*97/100 {
			t.Errorf("%s: one is given back after %v, published is %v", name, next, test.next)
		}
	}
}

// Every directory that package acme names is known, and every public CA's terms have to be agreed to.
func TestKnown(t *testing.T) {
	for _, directory := range []string{
		acme.LetsEncrypt, acme.LetsEncryptStaging, acme.ZeroSSL, acme.GoogleTrustServices, acme.GoogleTrustServicesStaging,
		acme.SSLcomRSA, acme.SSLcomECC, acme.Actalis,
	} {
		known := ca.At(directory)
		letsEncrypt := strings.Contains(directory, "letsencrypt")
		if known.Name == "" || known.ExternalAccount == letsEncrypt || (known.Terms != "") != letsEncrypt {
			t.Errorf("%s: %+v", directory, known)
		}
		if known.Staging != "" && ca.At(known.Staging).Name == "" {
			t.Errorf("%s: its staging environment is not known", directory)
		}
	}
	if known := ca.At("https://ca.example.com/directory"); known.Name != "" {
		t.Errorf("%+v", known)
	}
}
