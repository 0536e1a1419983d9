package peers

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
)

// Other libraries' clients go the whole way at the CA that everseal's users test with: it is no CA for everseal alone.
func TestPeers(t *testing.T) {
	external, err := acme.ParseMACKey(externalMAC)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		challenge string
		names     []string
		external  *acme.ExternalAccount
	}{
		{acme.TypeHTTP01, []string{"example.com", "www.example.com", "127.0.0.1"}, nil},
		{acme.TypeTLSALPN01, []string{"example.com"}, nil},
		{acme.TypeDNS01, []string{"example.com", "*.example.com"}, &acme.ExternalAccount{KeyID: externalID, MACKey: external}},
	}
	for _, library := range peerLibraries() {
		for _, test := range tests {
			t.Run(library.name+"/"+test.challenge, func(t *testing.T) {
				t.Parallel()
				s := &interopSite{names: test.names, ca: acmetest.NewUnstartedServer()}
				if library.name == "lego" {
					s.ca.RetryAfter = time.Second // else it polls after five
				}
				s.start(t, site{challenge: test.challenge, external: test.external})
				p, err := library.open(within(t), s.site)
				if err != nil {
					t.Fatal(err)
				}
				s.wholeWay(t, p)
			})
		}
	}
}

// An interopSite is acmetest with a client that obtains certificates for the names.
type interopSite struct {
	site
	ca    *acmetest.Server
	names []string
}

// start starts the CA, and the servers in which it looks for answers.
func (s *interopSite) start(t *testing.T, at site) {
	t.Helper()
	s.site = at
	s.answers = &answers{setTXT: s.ca.SetTXT}
	plain, secure := s.answers.serve(t)
	s.ca.HTTPPort, s.ca.TLSPort = portOf(t, plain), portOf(t, secure)
	s.ca.SetHost("*", "127.0.0.1")
	s.ca.SetHost("unreachable.example", "127.0.0.1:1") // where nobody listens
	if at.external != nil {
		s.ca.ExternalAccounts = map[string][]byte{at.external.KeyID: at.external.MACKey}
	}
	s.ca.Start()
	t.Cleanup(s.ca.Close)
	s.directory, s.client = s.ca.URL, s.ca.Client()
}

func portOf(t *testing.T, address string) int {
	t.Helper()
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// wholeWay obtains, renews, revokes, changes the account's key and ends the account.
func (s *interopSite) wholeWay(t *testing.T, p peer) {
	ctx := within(t)
	first := s.obtain(ctx, t, p, nil)
	if a, ok := p.(renewalAdvisor); ok {
		w, err := a.renewalWindow(ctx, first)
		if err != nil || w.Start.Before(first.leaf.NotBefore) || !w.Start.Before(w.End) || w.End.After(first.leaf.NotAfter) {
			t.Errorf("renewal window %v, %v of a certificate from %v to %v", w, err, first.leaf.NotBefore, first.leaf.NotAfter)
		}
	}
	second := s.obtain(ctx, t, p, first)
	s.revoke(ctx, t, p, first)

	key := newKey(t)
	if err := p.changeKey(ctx, key); err != nil {
		t.Fatalf("change of the account's key: %v", err)
	}
	third := s.obtain(ctx, t, p, second)
	s.revoke(ctx, t, p, third) // as the same account, with its new key
	s.refuse(ctx, t, p)
	if err := p.deactivate(ctx); err != nil {
		t.Fatalf("deactivation of the account: %v", err)
	}
	if _, err := p.obtain(ctx, s.names, nil); err == nil {
		t.Error("a deactivated account obtained a certificate")
	}
}

// obtain fails the test unless the client gets a certificate that is good for the names, as a successor of the
// predecessor where it can say so.
func (s *interopSite) obtain(ctx context.Context, t *testing.T, p peer, predecessor *issued) *issued {
	t.Helper()
	certificate, err := p.obtain(ctx, s.names, predecessor)
	if err != nil {
		t.Fatal(err)
	}
	if public, ok := certificate.leaf.PublicKey.(*ecdsa.PublicKey); !ok || !public.Equal(certificate.key.Public()) {
		t.Error("the certificate is for another key")
	}
	intermediates := x509.NewCertPool()
	for _, der := range certificate.chain[1:] {
		intermediates.AppendCertsFromPEM(encodeCertificate(der))
	}
	for _, name := range s.names {
		options := x509.VerifyOptions{DNSName: strings.Replace(name, "*", "any", 1), Roots: s.ca.Roots(), Intermediates: intermediates}
		if _, err := certificate.leaf.Verify(options); err != nil {
			t.Error(err)
		}
	}
	orders, want := s.ca.Orders(), ""
	if _, ok := p.(renewalAdvisor); ok && predecessor != nil {
		if want, err = acme.CertificateID(predecessor.leaf); err != nil {
			t.Fatal(err)
		}
	}
	if got := orders[len(orders)-1].Replaces; got != want {
		t.Errorf("the order replaces %q, want %q", got, want)
	}
	if all := s.ca.Certificates(); !bytes.Equal(all[len(all)-1].Raw, certificate.chain[0]) {
		t.Error("the certificate is not the one that the CA issued last")
	}
	return certificate
}

// revoke revokes the certificate, and one more with its own key where the client can do so.
func (s *interopSite) revoke(ctx context.Context, t *testing.T, p peer, certificate *issued) {
	t.Helper()
	if err := p.revoke(ctx, certificate); err != nil {
		t.Fatalf("revocation: %v", err)
	}
	if reason, revoked := s.ca.Revoked(certificate.leaf.SerialNumber); !revoked || reason != int(acme.ReasonSuperseded) {
		t.Errorf("revoked: %t, for reason %d", revoked, reason)
	}
	byKey, ok := p.(keyRevoker)
	if !ok {
		return
	}
	other := s.obtain(ctx, t, p, nil)
	if err := byKey.revokeWithKey(ctx, other); err != nil {
		t.Fatalf("revocation with the certificate's key: %v", err)
	}
	if reason, revoked := s.ca.Revoked(other.leaf.SerialNumber); !revoked || reason != int(acme.ReasonKeyCompromise) {
		t.Errorf("revoked with the certificate's key: %t, for reason %d", revoked, reason)
	}
}

// refuse fails the test unless the client understands why a name is refused.
func (s *interopSite) refuse(ctx context.Context, t *testing.T, p peer) {
	t.Helper()
	const name = "refused.example"
	s.ca.Refuse(name)
	_, err := p.obtain(ctx, []string{name}, nil)
	if err == nil || !strings.Contains(err.Error(), "rejectedIdentifier") {
		t.Errorf("an order for a name that the CA refuses: %v", err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the refusal was not understood: %v", err)
	}
	if s.challenge != acme.TypeHTTP01 {
		return
	}
	if _, err = p.obtain(ctx, []string{"unreachable.example"}, nil); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an order for a name whose server is down: %v", err)
	}
}
