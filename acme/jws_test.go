package acme_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/everseal/everseal/acme"
)

// An opaqueSigner hides what kind of key it has, as a KMS does.
type opaqueSigner struct{ crypto.Signer }

// A failingSigner has a public key and cannot sign.
type failingSigner struct{ crypto.Signer }

var errOffline = errors.New("the HSM is offline")

func (failingSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errOffline
}

func newCurveKey(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestAccountKeys(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		algorithm string
		key       crypto.Signer
	}{
		{"ES256", newKey(t)},
		{"ES384", newCurveKey(t, elliptic.P384())},
		{"RS256", rsaKey},
		{"ES256", opaqueSigner{newKey(t)}},
		{"RS256", opaqueSigner{rsaKey}},
	} {
		inBubble(t, func(t *testing.T, c *ca) {
			c.client = &acme.Client{DirectoryURL: c.URL, HTTPClient: c.client.HTTPClient, Key: test.key}
			// More than once: one signature in 128 has a leading zero in r or s.
			for range 20 {
				if _, err := c.client.Register(t.Context(), acme.Registration{AgreeToTerms: true}); err != nil {
					t.Fatalf("%s: %v", test.algorithm, err)
				}
			}
			if _, err := c.issue(t, t.Context(), acme.Request{}); err != nil {
				t.Errorf("%s: %v", test.algorithm, err)
			}
			for _, r := range c.requests("") {
				if r.protected != nil && r.protected["alg"] != test.algorithm {
					t.Errorf("%s was signed with %v, want %s", r.resource, r.protected["alg"], test.algorithm)
				}
			}
		})
	}
}

// Public CAs take no keys on P-521. What is signed with one is right all the same.
func TestES512(t *testing.T) {
	key := newCurveKey(t, elliptic.P521())
	inBubble(t, func(t *testing.T, c *ca) {
		client := &acme.Client{DirectoryURL: c.URL, HTTPClient: c.client.HTTPClient, Key: key}
		for range 20 {
			_, err := client.Register(t.Context(), acme.Registration{AgreeToTerms: true})
			wantError(t, err, acme.ErrBadPublicKey, "P-521")
		}
		requests := c.requests("newAccount")
		if len(requests) < 20 {
			t.Fatalf("%d requests for an account", len(requests))
		}
		for _, r := range requests {
			jws, err := jose.ParseSignedJSON(r.body, []jose.SignatureAlgorithm{jose.ES512})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := jws.Verify(key.Public()); err != nil {
				t.Errorf("%v: %s", err, r.body)
			}
		}
	})
}

func TestUnusableAccountKeys(t *testing.T) {
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		key    crypto.Signer
		target error
		says   []string
	}{
		{"none", nil, nil, []string{"Client.Key is nil"}},
		{"P-224", newCurveKey(t, elliptic.P224()), nil, []string{"P-224", "P-256"}},
		{"failing", failingSigner{newKey(t)}, errOffline, []string{"sign"}},
		{"Ed25519", edKey, acme.ErrBadSignatureAlgorithm, []string{"EdDSA"}},
	} {
		inBubble(t, func(t *testing.T, c *ca) {
			client := &acme.Client{DirectoryURL: c.URL, HTTPClient: c.client.HTTPClient, Key: test.key}
			_, err := client.Register(t.Context(), acme.Registration{AgreeToTerms: true})
			wantError(t, err, test.target, test.says...)
			_, err = client.NewOrder(t.Context(), acme.OrderRequest{Identifiers: identifiers(t, "example.com")})
			wantError(t, err, test.target, test.says...)
			var problem *acme.Problem
			if errors.As(err, &problem) && len(problem.Algorithms) == 0 {
				t.Errorf("%s: the problem does not name the algorithms that are accepted", test.name)
			}
		})
	}
}

func TestSignedRequests(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		client := &acme.Client{DirectoryURL: c.URL, HTTPClient: c.client.HTTPClient, Key: newKey(t), UserAgent: "gateway/1.2"}
		account, err := client.Register(t.Context(), acme.Registration{AgreeToTerms: true})
		if err != nil {
			t.Fatal(err)
		}
		c.client = client
		if _, err := c.issue(t, t.Context(), acme.Request{}); err != nil {
			t.Fatal(err)
		}
		nonces := make(map[any]bool)
		for _, r := range c.requests("") {
			if agent := r.header.Get("User-Agent"); !strings.HasPrefix(agent, "gateway/1.2 everseal/") {
				t.Errorf("%s: User-Agent %q", r.resource, agent)
			}
			switch r.resource {
			case "directory":
				if r.method != "GET" || r.body != "" {
					t.Errorf("%s %s with %q", r.method, r.resource, r.body)
				}
				continue
			case "newNonce":
				if r.method != "HEAD" || r.body != "" {
					t.Errorf("%s %s with %q", r.method, r.resource, r.body)
				}
				continue
			}
			if r.method != "POST" || r.header.Get("Content-Type") != "application/jose+json" {
				t.Errorf("%s %s with Content-Type %q", r.method, r.resource, r.header.Get("Content-Type"))
			}
			if r.protected["url"] != r.url {
				t.Errorf("url header %q of a request to %q", r.protected["url"], r.url)
			}
			if nonce := r.protected["nonce"]; nonce == nil || nonces[nonce] {
				t.Errorf("%s: the nonce %v is missing or used again", r.resource, nonce)
			}
			nonces[r.protected["nonce"]] = true
			jwk, kid := r.protected["jwk"], r.protected["kid"]
			if r.resource == "newAccount" && (jwk == nil || kid != nil) || r.resource != "newAccount" && (jwk != nil || kid != account.URL) {
				t.Errorf("%s has jwk %v and kid %v", r.resource, jwk, kid)
			}
			var members map[string]string
			if err := json.Unmarshal([]byte(r.body), &members); err != nil || !slices.Equal(slices.Sorted(maps.Keys(members)), []string{"payload", "protected", "signature"}) || strings.Contains(r.body, "=") {
				t.Errorf("%s: %s is not flattened, or is padded (%v)", r.resource, r.body, err)
			}
			if want, ok := map[string]string{"order": "", "authorization": "", "certificate": "", "challenge": "{}"}[r.resource]; ok && r.payload != want {
				t.Errorf("%s has the payload %q, want %q", r.resource, r.payload, want)
			}
		}
	})
}

func TestKeyAuthorization(t *testing.T) {
	client := &acme.Client{Key: newKey(t)}
	got, err := client.KeyAuthorization("token")
	thumbprint, ok := strings.CutPrefix(got, "token.")
	if err != nil || !ok || len(thumbprint) != 43 {
		t.Errorf("key authorization %q, error %v", got, err)
	}
	client.Key = nil
	_, err = client.KeyAuthorization("token")
	wantError(t, err, nil, "Client.Key is nil")
	client.Key = newCurveKey(t, elliptic.P224())
	_, err = client.KeyAuthorization("token")
	wantError(t, err, nil, "thumbprint")
}
