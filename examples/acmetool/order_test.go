package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
)

func TestOrderByHTTP(t *testing.T) {
	s := registered(t, nil)
	s.mustRunOnWeb("order", "Example.com", "www.example.com", "127.0.0.1")
	certificate := s.certificate("example.com.pem")
	leaf := certificate.Leaf
	if !slices.Equal(leaf.DNSNames, []string{"example.com", "www.example.com"}) || len(leaf.IPAddresses) != 1 {
		t.Errorf("the certificate is for %v and %v", leaf.DNSNames, leaf.IPAddresses)
	}
	chain := x509.NewCertPool()
	for _, der := range certificate.Certificate[1:] {
		issuer, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		chain.AddCert(issuer)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: s.ca.Roots(), Intermediates: chain, DNSName: "www.example.com"}); err != nil {
		t.Error(err)
	}
	if files := s.files(); files != "account.key example.com.pem" {
		t.Errorf("the folder holds %s", files)
	}
}

// A wildcard and its base name are proved by two records at one name.
func TestOrderByHand(t *testing.T) {
	s := registered(t, nil)
	shown := s.mustRun(t.Context(), s.person(), "-manual", "order", "*.example.com", "example.com", "example.org")
	if got := s.certificate("_.example.com.pem").Leaf.DNSNames; len(got) != 3 {
		t.Errorf("the certificate is for %v", got)
	}
	if !strings.Contains(shown, "_.example.com.pem is good until ") {
		t.Errorf("it says %q", shown)
	}
	if records := recordLine.FindAllString(shown, -1); len(records) != 3 {
		t.Errorf("the records shown are %q", records)
	}
	if n := strings.Count(shown, "_acme-challenge.example.com. TXT"); n != 2 {
		t.Errorf("there are %d records for example.com", n)
	}
}

func TestNobodyAtTheTerminal(t *testing.T) {
	s := registered(t, nil)
	p := s.person()
	p.instead = p.leave
	if _, err := s.run(t.Context(), p, "-manual", "order", "example.com"); !errors.Is(err, io.EOF) {
		t.Errorf("where nobody can press Enter the error is %v", err)
	}
	if n := len(s.ca.Certificates()); n != 0 {
		t.Errorf("%d certificates were issued", n)
	}
}

// An order that a signal interrupted at the prompt is gone on with, by the same record.
func TestInterruptedOrder(t *testing.T) {
	s := registered(t, nil)
	ctx, interrupt := context.WithCancel(t.Context())
	p := s.person()
	p.instead = interrupt
	before, err := s.run(ctx, p, "-manual", "order", "example.com")
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("the interrupted call ended with %v", err)
	}
	if files := s.files(); files != "account.key example.com.order" {
		t.Errorf("the folder holds %s", files)
	}
	after := s.mustRun(t.Context(), s.person(), "-manual", "order", "example.com")
	if shown := recordLine.FindString(after); shown == "" || shown != recordLine.FindString(before) {
		t.Errorf("the record is %q after the interruption, and was %q", shown, recordLine.FindString(before))
	}
	s.certificate("example.com.pem")
	if n := len(s.ca.Orders()); n != 1 {
		t.Errorf("%d orders were made", n)
	}
}

// A certificate that came and could not be kept is fetched again, with its key.
func TestInterruptedAtTheEnd(t *testing.T) {
	s := registered(t, nil)
	obstacle := filepath.Join(s.folder, "example.com.pem")
	if err := os.Mkdir(obstacle, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := s.run(t.Context(), s.person(), "-manual", "order", "example.com"); err == nil || !strings.Contains(err.Error(), obstacle) {
		t.Fatalf("where the certificate can't be written the error is %v", err)
	}
	if err := os.Remove(obstacle); err != nil {
		t.Fatal(err)
	}
	shown := s.mustRun(t.Context(), s.person(), "-manual", "order", "example.com")
	issued := s.ca.Certificates()
	if len(issued) != 1 || len(s.ca.Orders()) != 1 || !s.certificate("example.com.pem").Leaf.Equal(issued[0]) {
		t.Errorf("%d certificates were issued for %d orders", len(issued), len(s.ca.Orders()))
	}
	if recordLine.MatchString(shown) {
		t.Errorf("a record was asked for once more: %s", shown)
	}
}

// An order beyond help is not gone on with: the next call makes another.
func TestFailedOrder(t *testing.T) {
	s := registered(t, nil)
	p := s.person()
	p.instead = func() { p.enter <- struct{}{} } // without a record
	_, err := s.run(t.Context(), p, "-manual", "order", "example.com")
	if failed, ok := errors.AsType[*acme.OrderError](err); !ok || !strings.Contains(failed.Error(), "example.com: dns-01") {
		t.Errorf("the error is %v", err)
	}
	if files := s.files(); files != "account.key" {
		t.Errorf("the folder holds %s", files)
	}
	s.mustRun(t.Context(), s.person(), "-manual", "order", "example.com")
	if n := len(s.ca.Orders()); n != 2 {
		t.Errorf("%d orders were made", n)
	}
}

// What would make the order fail for certain is found before it is made.
func TestNoOrderInVain(t *testing.T) {
	s := registered(t, nil)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := taken.Addr().String()
	if _, err := s.run(t.Context(), s.person(), "-http", address, "order", "example.com"); err == nil || !strings.Contains(err.Error(), address) {
		t.Errorf("where the address is taken the error is %v", err)
	}
	damaged := "-----BEGIN EC PRIVATE KEY-----\nAAA"
	if err := os.WriteFile(filepath.Join(s.folder, "example.com.order"), []byte(damaged), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = s.run(t.Context(), s.person(), "-manual", "order", "example.com")
	if err == nil || !strings.Contains(err.Error(), "example.com.order") || strings.Contains(err.Error(), "AAA") {
		t.Errorf("where the key is damaged the error is %v", err)
	}
	if got := s.read("example.com.order"); got != damaged {
		t.Errorf("the damaged file was changed to %q", got)
	}
	if n := len(s.ca.Orders()); n != 0 {
		t.Errorf("%d orders were made", n)
	}
}

func TestRenewWhenTheCASaysSo(t *testing.T) {
	s := registered(t, nil)
	s.mustRunOnWeb("order", "example.com", "127.0.0.1")
	before := s.certificate("example.com.pem").Leaf
	s.mustRunOnWeb("renew", "example.com")
	if !s.certificate("example.com.pem").Leaf.Equal(before) {
		t.Error("the certificate was renewed on its first day")
	}
	s.ca.SetRenewalInfo(before.SerialNumber, acmetest.RenewalInfo{Start: time.Now().Add(-2 * time.Hour), End: time.Now().Add(-time.Hour)})
	s.mustRunOnWeb("renew", "example.com")
	after := s.certificate("example.com.pem").Leaf
	if after.Equal(before) {
		t.Fatal("the certificate was not renewed in the CA's window")
	}
	if !slices.Equal(after.DNSNames, before.DNSNames) || len(after.IPAddresses) != 1 {
		t.Errorf("the new certificate is for %v and %v", after.DNSNames, after.IPAddresses)
	}
	if after.PublicKey.(*ecdsa.PublicKey).Equal(before.PublicKey) {
		t.Error("the new certificate has the old key")
	}
	id, err := acme.CertificateID(before)
	if err != nil {
		t.Fatal(err)
	}
	if orders := s.ca.Orders(); len(orders) != 2 || orders[1].Replaces != id {
		t.Errorf("the orders are %+v; the certificate replaced is %s", orders, id)
	}
}

// The instant in the window is chosen once for a certificate: the next look finds the same.
func TestRenewalTimeStays(t *testing.T) {
	s := registered(t, nil)
	s.mustRun(t.Context(), s.person(), "-manual", "order", "example.com")
	first := s.mustRun(t.Context(), s.person(), "renew", "example.com")
	if again := s.mustRun(t.Context(), s.person(), "renew", "example.com"); !strings.Contains(first, "to be renewed at") || again != first {
		t.Errorf("it says %q and then %q", first, again)
	}
}

func TestRenewByAgeOrForce(t *testing.T) {
	for _, c := range []struct {
		age     time.Duration // of 90 days
		args    []string
		renewed bool
	}{
		{59 * 24 * time.Hour, []string{"renew", "example.com"}, false},
		{59 * 24 * time.Hour, []string{"-force", "renew", "example.com"}, true},
		{61 * 24 * time.Hour, []string{"renew", "example.com"}, true},
	} {
		s := registered(t, func(ca *acmetest.Server) { ca.Lifetime, ca.Backdate = 90*24*time.Hour, c.age })
		s.mustRun(t.Context(), s.person(), "-manual", "order", "example.com")
		before := s.certificate("example.com.pem").Leaf
		s.ca.SetRenewalInfo(before.SerialNumber, acmetest.RenewalInfo{Start: time.Now(), End: time.Now().Add(-time.Hour)}) // no window
		s.mustRun(t.Context(), s.person(), append([]string{"-manual"}, c.args...)...)
		if renewed := !s.certificate("example.com.pem").Leaf.Equal(before); renewed != c.renewed {
			t.Errorf("%q at the age of %v: renewed: %t", c.args, c.age, renewed)
		}
	}
}

// A renewal that fails leaves the certificate as it was.
func TestFailedRenewal(t *testing.T) {
	s := registered(t, nil)
	s.mustRun(t.Context(), s.person(), "-manual", "order", "example.com")
	before := s.read("example.com.pem")
	p := s.person()
	p.instead = func() { s.ca.SetTXT("_acme-challenge.example.com"); p.enter <- struct{}{} }
	if _, err := s.run(t.Context(), p, "-manual", "-force", "renew", "example.com"); err == nil {
		t.Error("a renewal without the record succeeded")
	}
	if s.read("example.com.pem") != before {
		t.Error("the certificate is another")
	}
}

func TestRevoke(t *testing.T) {
	for _, c := range []struct {
		args   []string
		reason int
	}{
		{[]string{"revoke", "example.com"}, 0},
		{[]string{"-reason", "4", "revoke", "example.com"}, 4},
		{[]string{"-certificate-key", "-reason", "1", "revoke", "example.com"}, 1},
	} {
		s := registered(t, nil)
		s.mustRun(t.Context(), s.person(), "-manual", "order", "example.com")
		if slices.Contains(c.args, "-certificate-key") {
			if err := os.Remove(filepath.Join(s.folder, "account.key")); err != nil {
				t.Fatal(err)
			}
		}
		s.mustRun(t.Context(), s.person(), c.args...)
		if reason, revoked := s.ca.Revoked(s.certificate("example.com.pem").Leaf.SerialNumber); !revoked || reason != c.reason {
			t.Errorf("%q: revoked: %t, for the reason %d", c.args, revoked, reason)
		}
		if _, err := s.run(t.Context(), s.person(), c.args...); !errors.Is(err, acme.ErrAlreadyRevoked) {
			t.Errorf("%q: the second time the error is %v", c.args, err)
		}
	}
}
