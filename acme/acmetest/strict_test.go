package acmetest_test

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/everseal/everseal/acme/acmetest"
)

// newOrderRequest returns a request that the CA takes.
func newOrderRequest(c *client) *http.Request {
	c.t.Helper()
	url := c.resource("newOrder")
	body := c.sign(url, map[string]any{"identifiers": identify("example.com")}, nil)
	request, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/jose+json")
	return request
}

func TestRequestHeaders(t *testing.T) {
	everywhere(t, func(t *testing.T, ca *acmetest.Server) {
		c := newAccount(t, ca)
		c.do(newOrderRequest(c)).want(http.StatusCreated, "")
		for _, contentType := range []string{
			"application/jose+json; charset=utf-8", "application/jose+json;", "Application/JOSE+JSON", " application/jose+json, application/json",
		} {
			request := newOrderRequest(c)
			request.Header.Set("Content-Type", contentType)
			c.do(request).want(http.StatusUnsupportedMediaType, "malformed")
		}
		request := newOrderRequest(c)
		request.Header.Add("Content-Type", "application/json")
		c.do(request).want(http.StatusUnsupportedMediaType, "malformed")

		request = newOrderRequest(c)
		request.ContentLength = -1 // sent in chunks
		c.do(request).want(http.StatusLengthRequired, "malformed")
		request = newOrderRequest(c)
		request.Body, request.ContentLength = io.NopCloser(request.Body), 0 // likewise, as the type does not tell the length
		c.do(request).want(http.StatusLengthRequired, "malformed")

		request = newOrderRequest(c)
		request.Header.Set("Replay-Nonce", c.takeNonce())
		c.do(request).want(http.StatusBadRequest, "malformed")
		if got := len(ca.Orders()); got != 1 {
			t.Errorf("%d orders, want the first alone", got)
		}
	})
}

func TestRequestSize(t *testing.T) {
	c := newAccount(t, inMemory(t))
	url := c.resource("newOrder")
	order := `{"identifiers":[{"type":"dns","value":"example.com"}]` + strings.Repeat(" ", 30_000)
	c.post(url, order+"}").want(http.StatusCreated, "")
	c.post(url, order+strings.Repeat(" ", 10_000)+"}").want(http.StatusRequestEntityTooLarge, "malformed")
}

// The alg of a JWK, where it has one, and that of the JWS are the one that is for the key's curve.
func TestKeyAndAlgorithm(t *testing.T) {
	c := newClient(t, inMemory(t))
	url := c.resource("newAccount")
	register := func(edit func(header map[string]any), hash crypto.Hash, size int) *answer {
		t.Helper()
		header := map[string]any{"alg": algorithm(c.key), "url": url, "nonce": c.takeNonce(), "jwk": jwk(t, c.key)}
		edit(header)
		return c.send(url, seal(t, header, []byte(`{"termsOfServiceAgreed":true}`), func(data []byte) []byte {
			digest := hash.New()
			digest.Write(data)
			der, err := c.key.Sign(rand.Reader, digest.Sum(nil), hash)
			if err != nil {
				t.Fatal(err)
			}
			if size == 0 {
				return der
			}
			var rs struct{ R, S *big.Int }
			if _, err := asn1.Unmarshal(der, &rs); err != nil {
				t.Fatal(err)
			}
			return append(rs.R.FillBytes(make([]byte, size)), rs.S.FillBytes(make([]byte, size))...)
		}))
	}
	withAlg := func(alg string) json.RawMessage {
		return marshal(t, jose.JSONWebKey{Key: c.key.Public(), Algorithm: alg})
	}
	register(set("jwk", withAlg("ES256")), crypto.SHA256, 32).want(http.StatusCreated, "")
	for _, alg := range []string{"ES384", "RS256", "PS256", "none", "es256"} {
		register(set("jwk", withAlg(alg)), crypto.SHA256, 32).want(http.StatusBadRequest, "malformed")
	}
	// The signatures are right by the larger algorithms.
	register(set("alg", "ES384"), crypto.SHA384, 48).want(http.StatusBadRequest, "malformed")
	register(set("alg", "ES512"), crypto.SHA512, 66).want(http.StatusBadRequest, "malformed")
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	c.key = rsaKey
	register(set("jwk", withAlg("RS512")), crypto.SHA256, 0).want(http.StatusBadRequest, "malformed")
	register(set("jwk", withAlg("RS256")), crypto.SHA256, 0).want(http.StatusCreated, "")
}

// product returns p q as a JWK's n.
func product(p, q *big.Int) string {
	return base64.RawURLEncoding.EncodeToString(new(big.Int).Mul(p, q).Bytes())
}

// prime returns a prime of 1024 bits, two of which make 2048.
func prime(t *testing.T) *big.Int {
	t.Helper()
	p, err := rand.Prime(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// nextPrime returns the first prime above n.
func nextPrime(n *big.Int) *big.Int {
	p := new(big.Int).SetBit(n, 0, 1)
	for p.Add(p, big.NewInt(2)); !p.ProbablyPrime(20); p.Add(p, big.NewInt(2)) {
	}
	return p
}

// structured returns a prime of 1024 bits as the faulty hardware of CVE-2017-15361 makes them: a power of 65537 modulo
// the product of the first primes.
func structured(t *testing.T) *big.Int {
	t.Helper()
	m := big.NewInt(1)
	for p := int64(2); p <= 167; p++ { // the first 39
		if big.NewInt(p).ProbablyPrime(20) {
			m.Mul(m, big.NewInt(p))
		}
	}
	most := new(big.Int).Div(new(big.Int).Lsh(big.NewInt(1), 1024), m)
	least := new(big.Int).Mul(most, big.NewInt(3))
	least.Rsh(least, 2)
	for {
		k, err := rand.Int(rand.Reader, new(big.Int).Sub(most, least))
		if err != nil {
			t.Fatal(err)
		}
		a, err := rand.Int(rand.Reader, m)
		if err != nil {
			t.Fatal(err)
		}
		p := k.Add(k, least)
		p.Mul(p, m).Add(p, a.Exp(big.NewInt(65537), a, m))
		if p.ProbablyPrime(20) {
			return p
		}
	}
}

func TestRSAAccountKeys(t *testing.T) {
	c := newClient(t, inMemory(t))
	p, q := prime(t), prime(t)
	good := product(p, q)
	bits := func(bits int) string {
		n := make([]byte, bits/8)
		n[0], n[len(n)-1] = 0xc0, 0xff
		return base64.RawURLEncoding.EncodeToString(n)
	}
	for _, test := range []struct{ name, e, n, want string }{
		{"exponent 3", "Aw", good, "badPublicKey"},
		{"exponent 65539", "AQAD", good, "badPublicKey"},
		{"2056 bits", "AQAB", bits(2056), "badPublicKey"},
		{"3064 bits", "AQAB", bits(3064), "badPublicKey"},
		{"8192 bits", "AQAB", bits(8192), "badPublicKey"},
		{"a factor of 751", "AQAB", product(big.NewInt(751), new(big.Int).Or(new(big.Int).Lsh(big.NewInt(3), 2037), big.NewInt(1))), "badPublicKey"},
		{"factors close together", "AQAB", product(p, nextPrime(p)), "badPublicKey"},
		{"a factor squared", "AQAB", product(p, p), "badPublicKey"},
		{"faulty hardware", "AQAB", product(structured(t), structured(t)), "badPublicKey"},
		{"good, with another key's signature", "AQAB", good, "malformed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c.t = t
			url := c.resource("newAccount")
			key := json.RawMessage(`{"kty":"RSA","e":"` + test.e + `","n":"` + test.n + `"}`)
			answer := c.send(url, c.sign(url, map[string]any{"termsOfServiceAgreed": true}, func(header map[string]any) {
				header["jwk"], header["alg"] = key, "RS256"
			}))
			answer.want(http.StatusBadRequest, test.want)
		})
	}
}

func TestCurves(t *testing.T) {
	ca := inMemory(t)
	c := newClient(t, ca)
	c.key = newKey(t, elliptic.P521())
	c.register(map[string]any{"termsOfServiceAgreed": true}).want(http.StatusBadRequest, "badPublicKey")
	c.key = newKey(t, elliptic.P384())
	c.register(map[string]any{"termsOfServiceAgreed": true}).want(http.StatusCreated, "")
}

func TestStrictCSR(t *testing.T) {
	odd, err := rsa.GenerateKey(rand.Reader, 2056)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("a", 60) + ".example.com" // 72 bytes
	mustStaple := []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}, Value: []byte{0x30, 3, 2, 1, 5}}}
	for _, test := range []struct {
		name   string
		csr    x509.CertificateRequest
		key    crypto.Signer
		status int
		want   string
	}{
		{"RSA-PSS", x509.CertificateRequest{SignatureAlgorithm: x509.SHA256WithRSAPSS}, rsaKey, 400, "badCSR"},
		{"SHA-384 with RSA", x509.CertificateRequest{SignatureAlgorithm: x509.SHA384WithRSA}, rsaKey, 200, ""},
		{"RSA of 2056 bits", x509.CertificateRequest{}, odd, 400, "badCSR"},
		{"P-521", x509.CertificateRequest{}, newKey(t, elliptic.P521()), 400, "badCSR"},
		{"a common name of 72 bytes", x509.CertificateRequest{Subject: pkix.Name{CommonName: long}}, newKey(t, elliptic.P256()), 400, "badCSR"},
		{"must-staple", x509.CertificateRequest{ExtraExtensions: mustStaple}, newKey(t, elliptic.P256()), 403, "unauthorized"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				ca := n.newCA(t, nil)
				c := newAccount(t, ca)
				o := c.newOrder(long)
				n.prove(c, o, "http-01")
				test.csr.DNSNames = []string{long}
				c.post(o.Finalize, newCSR(t, &test.csr, test.key)).want(test.status, test.want)
				if got := c.getOrder(o.URL).Status; test.status != http.StatusOK && got != "ready" {
					t.Errorf("the order is %s after a bad CSR, want it ready", got)
				}
			})
		})
	}
}

func TestUnwantedIdentifiers(t *testing.T) {
	c := newAccount(t, inMemory(t))
	for _, name := range []string{
		"com", "*.com", "co.uk", "*.co.uk", "a.ck", "xn--p1ai", "arpa", "dev",
		"0.0.0.0", "0.1.2.3", "::", "224.0.0.1", "239.255.255.250", "255.255.255.255", "240.0.0.1", "ff02::1", "169.254.1.1", "fe80::1",
	} {
		p := c.post(c.resource("newOrder"), map[string]any{"identifiers": identify("good.example.com", name)}).want(400, "rejectedIdentifier").problem()
		if len(p.Subproblems) != 1 || p.Subproblems[0].Identifier.Value != name {
			t.Errorf("%s: %+v", name, p)
		}
	}
	labels := strings.Repeat("a.", 8) + "example.com"
	for _, good := range [][]string{
		{"example.com", "www.ck", "github.io", "*.github.io", "localhost", "*.localhost", "test", "a.internal", "*.example", labels, "*." + labels},
		{"127.0.0.1", "::1", "10.0.0.1", "192.168.1.1", "fd00::1", "192.0.2.1", "2001:db8::1", "100.64.0.1"},
	} {
		c.newOrder(good...)
	}
	for _, name := range []string{"a." + labels, "*.a." + labels} {
		c.post(c.resource("newOrder"), map[string]any{"identifiers": identify(name)}).want(400, "malformed")
	}
	for _, name := range []string{"com", "224.0.0.1"} {
		c.post(c.resource("newAuthz"), map[string]any{"identifier": identify(name)[0]}).want(403, "rejectedIdentifier")
	}
}

// A proof for a public suffix would do for everybody's names below it.
func TestPublicSuffixAsAncestor(t *testing.T) {
	ca := acmetest.NewUnstartedServer()
	ca.SubdomainAuthorizations = true
	ca.StartInMemory()
	defer ca.Close()
	c := newAccount(t, ca)
	asked := map[string]any{"type": "dns", "value": "example.co.uk", "ancestorDomain": "co.uk"}
	c.post(c.resource("newOrder"), map[string]any{"identifiers": []any{asked}}).want(400, "rejectedIdentifier")
}

func TestStrictContacts(t *testing.T) {
	ca := inMemory(t)
	for want, contacts := range map[string][]string{
		"invalidContact": {
			"mailto:a@example.com#home", "mailto:a@example.com#", "mailto:ä@example.com", "mailto:%C3%A4@example.com",
			"mailto:a@*.example.com", "mailto:a@com", "mailto:a@exa_mple.com", "mailto:a@example.com.",
		},
		"": {"mailto:a+b@example.com", "mailto:A@EXAMPLE.com"},
	} {
		for _, contact := range contacts {
			status := http.StatusBadRequest
			if want == "" {
				status = http.StatusCreated
			}
			newClient(t, ca).register(map[string]any{"termsOfServiceAgreed": true, "contact": []string{contact}}).want(status, want)
		}
	}
	two := slices.Repeat([]string{"mailto:a@example.com"}, 2)
	newClient(t, ca).register(map[string]any{"termsOfServiceAgreed": true, "contact": two}).want(http.StatusCreated, "")
	three := append(two, "mailto:b@example.com")
	newClient(t, ca).register(map[string]any{"termsOfServiceAgreed": true, "contact": three}).want(http.StatusBadRequest, "malformed")
}

// An account is looked at by POST-as-GET, not by a change of nothing.
func TestEmptyAccountUpdate(t *testing.T) {
	c := newAccount(t, inMemory(t))
	c.post(c.kid, map[string]any{}).want(http.StatusBadRequest, "malformed")
	c.post(c.kid, nil).want(http.StatusOK, "")
}

func TestStrictRevocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		c := newAccount(t, n.newCA(t, nil))
		leaf := c.chain(n.obtain(c, "example.com").Certificate)[0]
		c.revoke(leaf, nil, 3).want(http.StatusBadRequest, "badRevocationReason")
		time.Sleep(91 * 24 * time.Hour)
		c.revoke(leaf, nil, 0).want(http.StatusForbidden, "unauthorized")
	})
}

// A key that was given away by its owner is good for nothing any more.
func TestRevokedKeyIsBlocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		c := newAccount(t, n.newCA(t, nil))
		key := newKey(t, elliptic.P256())
		o := c.newOrder("example.com")
		n.prove(c, o, "http-01")
		leaf := c.chain(finalize(c, o, key).Certificate)[0]
		c.revoke(leaf, key, 1).want(http.StatusOK, "")

		o = c.newOrder("example.com")
		n.prove(c, o, "http-01")
		csr := &x509.CertificateRequest{DNSNames: []string{"example.com"}}
		c.post(o.Finalize, newCSR(t, csr, key)).want(http.StatusBadRequest, "badCSR")
		finalize(c, o, newKey(t, elliptic.P256()))
		thief := *c
		thief.key = key
		thief.register(map[string]any{"termsOfServiceAgreed": true}).want(http.StatusBadRequest, "badPublicKey")
	})
}
