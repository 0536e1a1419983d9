package peers

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
)

// obtain has the client obtain a certificate for example.com, and returns the request with it.
func obtain(t *testing.T, p *pebble, client *acme.Client, change func(*acme.Request)) (acme.Request, *acme.Certificate) {
	t.Helper()
	var http01 solver.HTTP01
	startAnswers(t, p, &http01, new(solver.TLSALPN01))
	r := acme.Request{Identifiers: identifiers(t, "example.com"), Key: newKey(t), Solvers: []acme.Solver{&http01}}
	if change != nil {
		change(&r)
	}
	certificate, err := client.Issue(within(t), r)
	if err != nil {
		t.Fatal(err)
	}
	return r, certificate
}

func TestAccountChanges(t *testing.T) {
	p := startPebble(t, pebbleSettings{})
	ctx := within(t)
	client := newAccount(t, p)
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
	if _, err := client.NewOrder(ctx, acme.OrderRequest{Identifiers: identifiers(t, "example.com")}); !errors.Is(err, acme.ErrUnauthorized) {
		t.Errorf("an order of a deactivated account: %v", err)
	}
}

func TestOrders(t *testing.T) {
	p := startPebble(t, pebbleSettings{})
	client := newAccount(t, p)
	var want []string
	for _, name := range []string{"a.example", "b.example", "c.example", "d.example", "e.example"} {
		order, err := client.NewOrder(within(t), acme.OrderRequest{Identifiers: identifiers(t, name)})
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, order.URL)
	}
	var got []string
	for url, err := range client.Orders(within(t)) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, url)
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("orders %q, want %q", got, want)
	}
	for range client.Orders(within(t)) {
		break // a caller that has seen enough
	}
}

func TestChangeKey(t *testing.T) {
	p := startPebble(t, pebbleSettings{})
	ctx := within(t)
	client, other := newAccount(t, p), newAccount(t, p)
	account, err := client.GetAccount(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.ChangeKey(ctx, other.Key); err == nil {
		t.Error("the key of another account was taken")
	}
	key := newKey(t)
	if err := client.ChangeKey(ctx, key); err != nil {
		t.Fatal(err)
	}
	if _, err := client.GetAccount(ctx); err == nil {
		t.Error("the old key is good still")
	}
	next := &acme.Client{DirectoryURL: p.directory, Key: key, HTTPClient: p.client()}
	if found, err := next.FindAccount(ctx); err != nil || found.URL != account.URL {
		t.Errorf("the account of the new key is %+v, %v; want %s", found, err, account.URL)
	}
	if _, err := next.NewOrder(ctx, acme.OrderRequest{Identifiers: identifiers(t, "example.com")}); err != nil {
		t.Errorf("an order with the new key: %v", err)
	}
}

// TestChangeKeyLostAnswer cuts the connection when the CA has changed the key: the change is found to
// have been made.
func TestChangeKeyLostAnswer(t *testing.T) {
	p := startPebble(t, pebbleSettings{})
	ctx := within(t)
	client := newAccount(t, p)
	lost := false
	client.HTTPClient = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		resp, err := p.client().Transport.RoundTrip(r)
		if err == nil && !lost && r.URL.Path == "/rollover-account-key" {
			lost = true
			_ = resp.Body.Close()
			return nil, errors.New("the connection was cut")
		}
		return resp, err
	})}
	if err := client.ChangeKey(ctx, newKey(t)); err != nil || !lost {
		t.Errorf("ChangeKey: %v; the answer was lost: %t", err, lost)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestRevoke(t *testing.T) {
	p := startPebble(t, pebbleSettings{})
	ctx := within(t)
	client := newAccount(t, p)
	_, byAccount := obtain(t, p, client, nil)
	if err := client.RevokeCertificate(ctx, byAccount.Chain[0], acme.ReasonSuperseded); err != nil {
		t.Fatal(err)
	}
	if err := client.RevokeCertificate(ctx, byAccount.Chain[0], acme.ReasonSuperseded); !errors.Is(err, acme.ErrAlreadyRevoked) {
		t.Errorf("revoked again: %v", err)
	}
	r, byKey := obtain(t, p, client, nil)
	if err := newAccount(t, p).RevokeCertificate(ctx, byKey.Chain[0], acme.ReasonUnspecified); !errors.Is(err, acme.ErrUnauthorized) {
		t.Errorf("revoked by another account: %v", err)
	}
	if err := client.RevokeCertificate(ctx, byKey.Chain[0], 7); !errors.Is(err, acme.ErrBadRevocationReason) {
		t.Errorf("revoked for a reason that does not exist: %v", err)
	}
	stranger := &acme.Client{DirectoryURL: p.directory, HTTPClient: p.client()}
	if err := stranger.RevokeWithKey(ctx, byKey.Chain[0], newKey(t), acme.ReasonKeyCompromise); err == nil {
		t.Error("revoked by another key")
	}
	if err := stranger.RevokeWithKey(ctx, byKey.Chain[0], r.Key, acme.ReasonKeyCompromise); err != nil {
		t.Errorf("revoked by the certificate's key: %v", err)
	}
}

func TestRenewalInfo(t *testing.T) {
	p := startPebble(t, pebbleSettings{})
	ctx := within(t)
	client := newAccount(t, p)
	_, certificate := obtain(t, p, client, nil)
	info, err := client.GetRenewalInfo(ctx, certificate.Leaf)
	if err != nil {
		t.Fatal(err)
	}
	w := info.SuggestedWindow
	if w.Start.Before(certificate.Leaf.NotBefore) || w.End.After(certificate.Leaf.NotAfter) || info.RetryAfter != 6*time.Hour {
		t.Errorf("renewal info %+v of a certificate from %v to %v", info, certificate.Leaf.NotBefore, certificate.Leaf.NotAfter)
	}
	if _, renewed := obtain(t, p, client, func(r *acme.Request) { r.Replaces = certificate.Leaf }); renewed.Leaf.Equal(certificate.Leaf) {
		t.Error("the predecessor was handed out again")
	}
	for _, answer := range []string{
		"{", "[]", `{"suggestedWindow":{}}`,
		`{"suggestedWindow":{"start":"2026-01-02T00:00:00Z","end":"2026-01-01T00:00:00Z"}}`,
		`{"suggestedWindow":{"start":"soon","end":"later"}}`,
	} {
		if err := p.database.SetARIResponse(certificate.Leaf.SerialNumber, answer); err != nil {
			t.Fatal(err)
		}
		if info, err := client.GetRenewalInfo(ctx, certificate.Leaf); err == nil {
			t.Errorf("%s gives %+v", answer, info)
		}
	}
	if _, err := client.GetRenewalInfo(ctx, new(x509.Certificate)); err == nil {
		t.Error("a certificate without an authority key identifier has renewal info")
	}
}

// TestReplacesUnknown renews a certificate of another CA: what it replaces is no reason not to get one.
func TestReplacesUnknown(t *testing.T) {
	other := startPebble(t, pebbleSettings{})
	_, foreign := obtain(t, other, newAccount(t, other), nil)
	p := startPebble(t, pebbleSettings{})
	obtain(t, p, newAccount(t, p), func(r *acme.Request) { r.Replaces = foreign.Leaf })
}

// TestReplacesAgain renews a certificate twice. The CA knows that it has been replaced, and that is no reason not to get
// another one.
func TestReplacesAgain(t *testing.T) {
	p := startPebble(t, pebbleSettings{})
	ctx := within(t)
	client := newAccount(t, p)
	certificate := new(acme.Certificate)
	made := 0
	// Pebble does not find a certificate again whose serial number has a zero before it in DER.
	for ; made == 0 || certificate.Leaf.SerialNumber.Bytes()[0] >= 0x80; made++ {
		_, certificate = obtain(t, p, client, nil)
	}
	obtain(t, p, client, func(r *acme.Request) { r.Replaces = certificate.Leaf })
	p.waitReplaced(ctx, t, certificate.Leaf)
	id, err := acme.CertificateID(certificate.Leaf)
	if err != nil {
		t.Fatal(err)
	}
	ordered := acme.OrderRequest{Identifiers: identifiers(t, "example.com"), Replaces: id}
	if _, err := client.NewOrder(ctx, ordered); !errors.Is(err, acme.ErrAlreadyReplaced) {
		t.Errorf("an order that replaces what was replaced: %v", err)
	}
	obtain(t, p, client, func(r *acme.Request) { r.Replaces = certificate.Leaf })
	p.wants(t, made+2, made+2)
}

func TestProfiles(t *testing.T) {
	p := startPebble(t, pebbleSettings{profiles: []string{"short", "long"}})
	ctx := within(t)
	client := newAccount(t, p)
	d, err := client.GetDirectory(ctx)
	if err != nil || d.Meta.Profiles["short"] != "short" || len(d.Meta.Profiles) != 3 {
		t.Errorf("profiles %v, %v", d.Meta.Profiles, err)
	}
	order, err := client.NewOrder(ctx, acme.OrderRequest{Identifiers: identifiers(t, "example.com"), Profile: "short"})
	if err != nil || order.Profile != "short" {
		t.Errorf("order %+v, %v", order, err)
	}
	_, err = client.NewOrder(ctx, acme.OrderRequest{Identifiers: identifiers(t, "example.com"), Profile: "none"})
	if !errors.Is(err, acme.ErrInvalidProfile) {
		t.Errorf("an order of a profile that there is not: %v", err)
	}
	var url string
	obtain(t, p, client, func(r *acme.Request) {
		r.Profile = "long"
		r.Before = func(_ context.Context, s acme.Step) error { url = s.OrderURL; return nil }
	})
	if order, err = client.GetOrder(ctx, url); err != nil || order.Profile != "long" || order.Status != acme.StatusValid {
		t.Errorf("order %+v, %v", order, err)
	}
}

func TestPreferredChain(t *testing.T) {
	p := startPebble(t, pebbleSettings{alternates: 2})
	client := newAccount(t, p)
	for i := range 3 {
		root := p.chains.GetRootCert(i).Cert
		_, certificate := obtain(t, p, client, func(r *acme.Request) { r.PreferredChain = root.Subject.CommonName })
		last, err := x509.ParseCertificate(certificate.Chain[len(certificate.Chain)-1])
		if err != nil {
			t.Fatal(err)
		}
		if err := last.CheckSignatureFrom(root); err != nil || len(certificate.Alternates) != 2 {
			t.Errorf("root %d: the chain ends below %s (%v), with %d alternates", i, last.Issuer, err, len(certificate.Alternates))
		}
	}
	_, certificate := obtain(t, p, client, func(r *acme.Request) { r.PreferredChain = "no such root" })
	if certificate.Leaf == nil {
		t.Error("without the chain preferred there is none")
	}
}

func TestDeactivateAuthorization(t *testing.T) {
	p := startPebble(t, pebbleSettings{})
	ctx := within(t)
	client := newAccount(t, p)
	order, err := client.NewOrder(ctx, acme.OrderRequest{Identifiers: identifiers(t, "example.com")})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.DeactivateAuthorization(ctx, order.Authorizations[0]); err != nil {
		t.Fatal(err)
	}
	a, err := client.GetAuthorization(ctx, order.Authorizations[0])
	if err != nil || a.Status != acme.StatusDeactivated {
		t.Errorf("authorization %+v, %v", a, err)
	}
	if _, err := client.NewAuthorization(ctx, order.Identifiers[0]); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("an authorization ahead of an order, which Pebble does not offer: %v", err)
	}
}
