package peers

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	_ "crypto/md5" // for csrBy
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1" // for csrBy
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"net/http"
	"strings"
	"testing"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/solver"
)

// An inspector is a CA that is sent what it should refuse.
type inspector struct {
	client *acme.Client // that has an account
	solver acme.Solver
	edit   func(*http.Request) // of each request on its way; may be nil
}

// watch has the client's requests be edited on their way.
func (i *inspector) watch() *inspector {
	next := i.client.HTTPClient.Transport
	i.client.HTTPClient = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		if i.edit != nil && r.Method == http.MethodPost {
			i.edit(r)
		}
		return next.RoundTrip(r)
	})}
	return i
}

// inspectors returns Pebble and package acmetest.
func inspectors(t *testing.T) (pebble, own *inspector) {
	t.Helper()
	s := newStage(t)
	s.register(t)
	http01 := new(solver.HTTP01)
	web := listen(t)
	startWeb(t, web, http01.Handler(nil))
	ca := acmetest.NewServer()
	t.Cleanup(ca.Close)
	ca.SetHost("*", web.Addr().String())
	client := &acme.Client{DirectoryURL: ca.URL, Key: newKey(t), HTTPClient: ca.Client()}
	if _, err := client.Register(within(t), acme.Registration{AgreeToTerms: true}); err != nil {
		t.Fatal(err)
	}
	pebble, own = &inspector{client: s.client, solver: s.solvers[0]}, &inspector{client: client, solver: http01}
	return pebble.watch(), own.watch()
}

// order asks for an order.
func (i *inspector) order(t *testing.T, id acme.Identifier) error {
	t.Helper()
	_, err := i.client.NewOrder(within(t), acme.OrderRequest{Identifiers: []acme.Identifier{id}})
	return err
}

// orderWith asks for an order with an edited request.
func (i *inspector) orderWith(t *testing.T, edit func(*http.Request)) error {
	t.Helper()
	i.edit = edit
	defer func() { i.edit = nil }()
	return i.order(t, acme.Identifier{Type: acme.TypeDNS, Value: name})
}

// finalize sends the certificate request for an order of the name that is ready.
func (i *inspector) finalize(t *testing.T, name string, csr []byte) error {
	t.Helper()
	s := &stage{client: i.client, solvers: []acme.Solver{i.solver}}
	r := s.request(t, name)
	s.stop(t, &r, acme.ActionFinalize)
	order, err := i.client.GetOrder(within(t), r.OrderURL)
	if err != nil {
		t.Fatal(err)
	}
	_, err = i.client.FinalizeOrder(within(t), order, csr)
	return err
}

// register sends a request for an account that is signed by hand, since no package signs with such keys.
func (i *inspector) register(t *testing.T, jwk map[string]string, key crypto.Signer) error {
	t.Helper()
	d, err := i.client.GetDirectory(within(t))
	if err != nil {
		t.Fatal(err)
	}
	response, err := i.client.HTTPClient.Head(d.NewNonce)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	algorithm := "ES256"
	if _, ok := key.(*rsa.PrivateKey); ok {
		algorithm = "RS256"
	}
	encoded := base64.RawURLEncoding.EncodeToString
	protected := encoded(encode(map[string]any{"alg": algorithm, "nonce": response.Header.Get("Replay-Nonce"), "url": d.NewAccount, "jwk": jwk}))
	payload := encoded([]byte(`{"termsOfServiceAgreed":true}`))
	digest := sha256.Sum256([]byte(protected + "." + payload))
	signature, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	if algorithm == "ES256" {
		var parts struct{ R, S *big.Int }
		if _, err := asn1.Unmarshal(signature, &parts); err != nil {
			t.Fatal(err)
		}
		signature = append(parts.R.FillBytes(make([]byte, 32)), parts.S.FillBytes(make([]byte, 32))...)
	}
	body := encode(map[string]string{"protected": protected, "payload": payload, "signature": encoded(signature)})
	response, err = i.client.HTTPClient.Post(d.NewAccount, "application/jose+json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode < 300 {
		return nil
	}
	refusal := new(acme.Problem)
	if err := json.Unmarshal(text, refusal); err != nil {
		t.Fatalf("the answer is %q", text)
	}
	return refusal
}

// ecJWK and rsaJWK are keys as JWKs.
func ecJWK(t *testing.T, key *ecdsa.PrivateKey) map[string]string {
	t.Helper()
	point, err := key.PublicKey.Bytes() // 4, x, y
	if err != nil {
		t.Fatal(err)
	}
	encoded := base64.RawURLEncoding.EncodeToString
	return map[string]string{"kty": "EC", "crv": "P-256", "x": encoded(point[1:33]), "y": encoded(point[33:])}
}

func rsaJWK(key *rsa.PrivateKey) map[string]string {
	encoded := base64.RawURLEncoding.EncodeToString
	return map[string]string{"kty": "RSA", "n": encoded(key.N.Bytes()), "e": encoded(big.NewInt(int64(key.E)).Bytes())}
}

func rsaKey(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// withExponent3 returns a key of 2048 bits with an exponent that is rare.
func withExponent3(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	one, three := big.NewInt(1), big.NewInt(3)
	for {
		p, err := rand.Prime(rand.Reader, 1024)
		if err != nil {
			t.Fatal(err)
		}
		q, err := rand.Prime(rand.Reader, 1024)
		if err != nil {
			t.Fatal(err)
		}
		phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
		d := new(big.Int).ModInverse(three, phi)
		if d == nil {
			continue
		}
		key := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: 3}, D: d, Primes: []*big.Int{p, q}}
		key.Precompute()
		return key
	}
}

// csrWith returns a request for the name, with a common name where there is one.
func csrWith(t *testing.T, key crypto.Signer, name, common string) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: common}, DNSNames: []string{name}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// csrBy returns a request for name that is signed with an old hash: md5WithRSAEncryption is 4 and sha1WithRSAEncryption 5
// among the algorithms of PKCS #1.
func csrBy(t *testing.T, algorithm int, hash crypto.Hash) []byte {
	t.Helper()
	key := rsaKey(t, 2048)
	var parts struct {
		Info      asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	if _, err := asn1.Unmarshal(csrWith(t, key, name, ""), &parts); err != nil {
		t.Fatal(err)
	}
	parts.Algorithm.Algorithm = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, algorithm}
	digest := hash.New()
	digest.Write(parts.Info.FullBytes)
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, hash, digest.Sum(nil))
	if err != nil {
		t.Fatal(err)
	}
	parts.Signature = asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}
	der, err := asn1.Marshal(parts)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// What Pebble refuses package acmetest refuses too, and besides what Boulder refuses: then the row says why the two
// differ.
func TestMalformedIsRefusedAsByPebble(t *testing.T) {
	wrongAlg := func(alg string) func(*testing.T, *inspector) error {
		return func(t *testing.T, i *inspector) error {
			key := newKey(t)
			jwk := ecJWK(t, key)
			jwk["alg"] = alg
			return i.register(t, jwk, key)
		}
	}
	identifier := func(kind, value string) func(*testing.T, *inspector) error {
		return func(t *testing.T, i *inspector) error { return i.order(t, acme.Identifier{Type: kind, Value: value}) }
	}
	contentType := func(value string) func(*testing.T, *inspector) error {
		return func(t *testing.T, i *inspector) error {
			return i.orderWith(t, func(r *http.Request) { r.Header.Set("Content-Type", value) })
		}
	}
	long := strings.Repeat("a", 59) + "." + name // 72 bytes
	for _, test := range []struct {
		name   string
		send   func(*testing.T, *inspector) error
		own    acme.ProblemType // at package acmetest; empty: it is taken
		pebble acme.ProblemType
		why    string // they differ
	}{
		{"an order", identifier(acme.TypeDNS, name), "", "", ""},
		{"an account with an EC key", wrongAlg("ES256"), "", "", ""},
		{"an account with an RSA key", func(t *testing.T, i *inspector) error {
			key := rsaKey(t, 2048)
			return i.register(t, rsaJWK(key), key)
		}, "", "", ""},
		{"a CSR", func(t *testing.T, i *inspector) error { return i.finalize(t, name, csrWith(t, newKey(t), name, name)) }, "", "", ""},

		{"a content type with parameters", contentType("application/jose+json; charset=utf-8"), acme.ErrMalformed, acme.ErrMalformed, ""},
		{"another content type", contentType("application/json"), acme.ErrMalformed, acme.ErrMalformed, ""},
		{"no Content-Length", func(t *testing.T, i *inspector) error {
			return i.orderWith(t, func(r *http.Request) { r.ContentLength, r.GetBody = -1, nil })
		}, acme.ErrMalformed, "", "Boulder answers 411; Pebble reads to the end"},
		{"a JWK for another curve's algorithm", wrongAlg("ES384"), acme.ErrMalformed, acme.ErrBadPublicKey, "Boulder calls the request malformed"},
		{"a JWK for another kind of key's algorithm", wrongAlg("RS256"), acme.ErrMalformed, acme.ErrBadPublicKey, "Boulder calls the request malformed"},
		{"an RSA key with the exponent 3", func(t *testing.T, i *inspector) error {
			key := withExponent3(t)
			return i.register(t, rsaJWK(key), key)
		}, acme.ErrBadPublicKey, "", "Boulder's policy on keys, which Pebble has not"},
		{"an RSA key of 2056 bits", func(t *testing.T, i *inspector) error {
			key := rsaKey(t, 2056)
			return i.register(t, rsaJWK(key), key)
		}, acme.ErrBadPublicKey, "", "Boulder's policy on keys, which Pebble has not"},
		{"a CSR signed with SHA-1", func(t *testing.T, i *inspector) error { return i.finalize(t, name, csrBy(t, 5, crypto.SHA1)) }, acme.ErrBadCSR, acme.ErrBadCSR, ""},
		{"a CSR signed with MD5", func(t *testing.T, i *inspector) error { return i.finalize(t, name, csrBy(t, 4, crypto.MD5)) }, acme.ErrBadCSR, acme.ErrBadCSR, ""},
		{"a common name of 72 bytes", func(t *testing.T, i *inspector) error { return i.finalize(t, long, csrWith(t, newKey(t), long, long)) }, acme.ErrBadCSR, "", "the bound of RFC 5280, for which Boulder refuses the CSR or leaves the name out; Pebble does not look at the subject"},
		{"a public suffix", identifier(acme.TypeDNS, "co.uk"), acme.ErrRejectedIdentifier, "", "Boulder's policy on names; Pebble has only its list of blocked ones"},
		{"a wildcard of a public suffix", identifier(acme.TypeDNS, "*.co.uk"), acme.ErrRejectedIdentifier, "", "Boulder's policy on names; Pebble has only its list of blocked ones"},
		{"a multicast address", identifier(acme.TypeIP, "224.0.0.1"), acme.ErrRejectedIdentifier, "", "Boulder refuses what IANA reserves; Pebble takes any address"},
		{"a multicast address of IPv6", identifier(acme.TypeIP, "ff02::1"), acme.ErrRejectedIdentifier, "", "Boulder refuses what IANA reserves; Pebble takes any address"},
		{"the unspecified address", identifier(acme.TypeIP, "0.0.0.0"), acme.ErrRejectedIdentifier, "", "Boulder refuses what IANA reserves; Pebble takes any address"},
		{"an underscore", identifier(acme.TypeDNS, "a_b."+name), acme.ErrMalformed, acme.ErrMalformed, ""},
		{"an address as a name", identifier(acme.TypeDNS, "192.0.2.1"), acme.ErrMalformed, acme.ErrMalformed, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			pebble, own := inspectors(t)
			for who, want := range map[*inspector]acme.ProblemType{own: test.own, pebble: test.pebble} {
				err := test.send(t, who)
				got, refused := errors.AsType[*acme.Problem](err)
				switch {
				case err != nil && !refused:
					t.Errorf("Pebble: %t: %v", who == pebble, err)
				case refused && got.Type != want, !refused && want != "":
					t.Errorf("Pebble: %t: %v, want %q", who == pebble, err, want)
				}
			}
			if (test.own != test.pebble) != (test.why != "") {
				t.Errorf("%q and %q, for a reason: %q", test.own, test.pebble, test.why)
			}
		})
	}
}
