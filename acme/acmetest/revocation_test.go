package acmetest_test

import (
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"math/big"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// revoke asks for the revocation of a certificate; with a key, as the one who has that.
func (c *client) revoke(leaf *x509.Certificate, key crypto.Signer, reason any) *answer {
	c.t.Helper()
	payload := map[string]any{"certificate": base64.RawURLEncoding.EncodeToString(leaf.Raw)}
	if reason != nil {
		payload["reason"] = reason
	}
	signer := *c
	signer.nonce = ""
	if key != nil {
		signer.kid, signer.key = "", key
	}
	return signer.post(c.resource("revokeCert"), payload)
}

func TestRevocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		ca := n.newCA(t, nil)
		issuer, other := newAccount(t, ca), newAccount(t, ca)
		issue := func() (leaf *x509.Certificate, key crypto.Signer) {
			key = newKey(t, elliptic.P256())
			o := readyOrder(n, issuer)
			return issuer.chain(finalize(issuer, o, key).Certificate)[0], key
		}

		leaf, key := issue()
		wantRevoked := func(wantReason int, want bool) {
			t.Helper()
			if reason, revoked := ca.Revoked(leaf.SerialNumber); reason != wantReason || revoked != want {
				t.Errorf("revoked %v for %d, want %v for %d", revoked, reason, want, wantReason)
			}
		}
		other.revoke(leaf, nil, nil).want(http.StatusForbidden, "unauthorized")
		other.revoke(leaf, other.key, nil).want(http.StatusForbidden, "unauthorized")
		issuer.revoke(leaf, issuer.key, nil).want(http.StatusForbidden, "unauthorized") // an account signs with its URL
		for _, reason := range []int{-1, 2, 3, 6, 7, 8, 9, 10, 11} {
			issuer.revoke(leaf, nil, reason).want(http.StatusBadRequest, "badRevocationReason")
		}
		for _, reason := range []any{1.5, "1"} {
			issuer.revoke(leaf, nil, reason).want(http.StatusBadRequest, "malformed")
		}
		wantRevoked(0, false)
		if answer := issuer.revoke(leaf, nil, 4).want(http.StatusOK, ""); len(answer.body) > 0 {
			t.Errorf("revocation was answered with %q", answer.body)
		}
		wantRevoked(4, true)
		issuer.revoke(leaf, nil, 1).want(http.StatusBadRequest, "alreadyRevoked")
		issuer.revoke(leaf, key, nil).want(http.StatusBadRequest, "alreadyRevoked")
		other.revoke(leaf, nil, nil).want(http.StatusForbidden, "unauthorized")
		wantRevoked(4, true)

		leaf, key = issue()
		wantRevoked(0, false)
		other.revoke(leaf, key, 1).want(http.StatusOK, "")
		wantRevoked(1, true)
		for _, reason := range []int{0, 5} {
			leaf, _ = issue()
			time.Sleep(8 * 24 * time.Hour) // the authorizations have expired
			issuer.revoke(leaf, nil, reason).want(http.StatusOK, "")
			wantRevoked(reason, true)
		}
		if _, revoked := ca.Revoked(big.NewInt(1)); revoked {
			t.Error("a serial number that there is not is revoked")
		}
	})
}

// An account that holds valid authorizations for all names may revoke what another was issued.
func TestRevocationByAuthorization(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		ca := n.newCA(t, nil)
		issuer, other := newAccount(t, ca), newAccount(t, ca)
		leaf := issuer.chain(finalize(issuer, readyOrder(n, issuer), newKey(t, elliptic.P256())).Certificate)[0]
		n.prove(other, other.newOrder("example.com", "192.0.2.7"), "http-01")
		other.revoke(leaf, nil, nil).want(http.StatusForbidden, "unauthorized") // lacks the wildcard
		wildcard := other.newOrder("*.example.com")
		other.revoke(leaf, nil, nil).want(http.StatusForbidden, "unauthorized") // pending
		n.prove(other, wildcard, "dns-01")
		other.post(wildcard.Authorizations[0], map[string]any{"status": "deactivated"}).want(http.StatusOK, "")
		other.revoke(leaf, nil, nil).want(http.StatusForbidden, "unauthorized")
		n.prove(other, other.newOrder("*.example.com"), "dns-01")
		other.revoke(leaf, nil, nil).want(http.StatusOK, "")
	})
}

func TestRevocationOfWhatIsNotThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		ca := n.newCA(t, nil)
		c := newAccount(t, ca)
		chain := c.chain(n.obtain(c, "example.com").Certificate)
		c.revoke(chain[1], nil, nil).want(http.StatusNotFound, "malformed") // the CA's own
		strange := newRoot(t, true, chain[0].NotAfter)
		foreign, err := x509.ParseCertificate(strange.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		c.revoke(foreign, strange.PrivateKey.(crypto.Signer), nil).want(http.StatusNotFound, "malformed")
		forgery := &x509.Certificate{SerialNumber: chain[0].SerialNumber, DNSNames: chain[0].DNSNames}
		forged, err := x509.CreateCertificate(rand.Reader, forgery, forgery, foreign.PublicKey, strange.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		forgery.Raw = forged
		c.revoke(forgery, nil, nil).want(http.StatusNotFound, "malformed")
		der := chain[0].Raw
		for _, encoded := range []string{
			"",
			"bm9uc2Vuc2U",
			base64.RawURLEncoding.EncodeToString(der[:len(der)/2]),
			base64.RawURLEncoding.EncodeToString(append(der[:len(der):len(der)], 0)),
			"+" + base64.RawURLEncoding.EncodeToString(der)[1:], // of the other alphabet, in which some certificates are the same
			base64.RawURLEncoding.EncodeToString(der) + "=",
		} {
			c.post(c.resource("revokeCert"), fmt.Sprintf(`{"certificate":%q}`, encoded)).want(http.StatusBadRequest, "malformed")
		}
		if _, revoked := ca.Revoked(chain[0].SerialNumber); revoked {
			t.Error("a certificate was revoked")
		}
	})
}
