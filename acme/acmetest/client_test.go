package acmetest_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/everseal/everseal/acme/acmetest"
)

// A client speaks ACME just well enough to be able to do each thing wrong. It builds its JWS without
// the library that the server verifies them with.
type client struct {
	t         *testing.T
	http      *http.Client
	directory map[string]any
	key       crypto.Signer
	kid       string // account URL; empty: requests carry the key
	nonce     string
}

// newClient returns a client with a key and no account.
func newClient(t *testing.T, ca *acmetest.Server) *client {
	t.Helper()
	c := &client{t: t, http: ca.Client(), key: newKey(t, elliptic.P256())}
	answer := c.get(ca.URL)
	answer.want(http.StatusOK, "")
	answer.decode(&c.directory)
	return c
}

// newAccount returns a client that has an account.
func newAccount(t *testing.T, ca *acmetest.Server) *client {
	t.Helper()
	c := newClient(t, ca)
	c.register(map[string]any{"termsOfServiceAgreed": true}).want(http.StatusCreated, "")
	return c
}

func newKey(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// resource returns a URL from the directory.
func (c *client) resource(name string) string {
	url, _ := c.directory[name].(string)
	return url
}

// register sends newAccount and remembers the account's URL.
func (c *client) register(payload any) *answer {
	c.t.Helper()
	c.kid = ""
	answer := c.post(c.resource("newAccount"), payload)
	c.kid = answer.header.Get("Location")
	return answer
}

func (c *client) get(url string) *answer {
	c.t.Helper()
	request, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, url, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	return c.do(request)
}

// post sends a signed request; a nil payload makes it a POST-as-GET.
func (c *client) post(url string, payload any) *answer {
	c.t.Helper()
	return c.send(url, c.sign(url, payload, nil))
}

// send posts a body.
func (c *client) send(url string, body []byte) *answer {
	c.t.Helper()
	request, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/jose+json")
	return c.do(request)
}

func (c *client) do(request *http.Request) *answer {
	c.t.Helper()
	response, err := c.http.Do(request)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	if nonce := response.Header.Get("Replay-Nonce"); nonce != "" {
		c.nonce = nonce
	}
	return &answer{t: c.t, status: response.StatusCode, header: response.Header, body: body}
}

// takeNonce returns a nonce that was not used yet.
func (c *client) takeNonce() string {
	c.t.Helper()
	if c.nonce == "" {
		c.get(c.resource("newNonce")).want(http.StatusNoContent, "")
	}
	nonce := c.nonce
	c.nonce = ""
	return nonce
}

// sign returns a JWS whose protected header edit may change before it is signed.
func (c *client) sign(url string, payload any, edit func(header map[string]any)) []byte {
	c.t.Helper()
	header := map[string]any{"alg": algorithm(c.key), "url": url, "nonce": c.takeNonce()}
	if c.kid != "" {
		header["kid"] = c.kid
	} else {
		header["jwk"] = jwk(c.t, c.key)
	}
	if edit != nil {
		edit(header)
	}
	maps.DeleteFunc(header, func(_ string, value any) bool { return value == nil })
	var encoded []byte
	if payload != nil {
		encoded = marshal(c.t, payload)
	}
	return seal(c.t, header, encoded, func(signed []byte) []byte { return signWith(c.t, c.key, signed) })
}

// seal returns a flattened JWS with the signature that mac makes.
func seal(t *testing.T, header map[string]any, payload []byte, mac func([]byte) []byte) []byte {
	t.Helper()
	protected := base64.RawURLEncoding.EncodeToString(marshal(t, header))
	encoded := base64.RawURLEncoding.EncodeToString(payload)
	return marshal(t, map[string]string{
		"protected": protected,
		"payload":   encoded,
		"signature": base64.RawURLEncoding.EncodeToString(mac([]byte(protected + "." + encoded))),
	})
}

func algorithm(key crypto.Signer) string {
	if key, ok := key.(*ecdsa.PrivateKey); ok {
		return map[int]string{256: "ES256", 384: "ES384", 521: "ES512"}[key.Params().BitSize]
	}
	return "RS256"
}

func signWith(t *testing.T, key crypto.Signer, data []byte) []byte {
	t.Helper()
	hash := crypto.SHA256
	ec, ok := key.(*ecdsa.PrivateKey)
	if ok {
		hash = map[int]crypto.Hash{256: crypto.SHA256, 384: crypto.SHA384, 521: crypto.SHA512}[ec.Params().BitSize]
	}
	digest := hash.New()
	digest.Write(data)
	if !ok {
		signature, err := rsa.SignPKCS1v15(rand.Reader, key.(*rsa.PrivateKey), hash, digest.Sum(nil))
		if err != nil {
			t.Fatal(err)
		}
		return signature
	}
	r, s, err := ecdsa.Sign(rand.Reader, ec, digest.Sum(nil))
	if err != nil {
		t.Fatal(err)
	}
	size := (ec.Params().BitSize + 7) / 8
	return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
}

func jwk(t *testing.T, key crypto.Signer) json.RawMessage {
	t.Helper()
	return marshal(t, jose.JSONWebKey{Key: key.Public()})
}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	if raw, ok := v.(string); ok { // JSON, right or wrong, as it is
		return []byte(raw)
	}
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// An answer is what the server answered.
type answer struct {
	t      *testing.T
	status int
	header http.Header
	body   []byte
}

type problem struct {
	Type        string
	Detail      string
	Identifier  identifier
	Subproblems []problem
	Algorithms  []string
	Instance    string
}

// kind returns the problem's type without the prefix that all share.
func (p problem) kind() string { return strings.TrimPrefix(p.Type, "urn:ietf:params:acme:error:") }

// want checks the status and, for refusals, the problem's type.
func (a *answer) want(status int, problemType string) *answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	if problemType == "" {
		return a
	}
	if got := a.header.Get("Content-Type"); got != "application/problem+json" {
		a.t.Errorf("Content-Type %q of a problem: %s", got, a.body)
	}
	p := a.problem()
	if p.kind() != problemType || !strings.HasPrefix(p.Type, "urn:ietf:params:acme:error:") {
		a.t.Errorf("problem type %q, want %q: %s", p.Type, problemType, a.body)
	}
	return a
}

func (a *answer) problem() (p problem) {
	a.t.Helper()
	a.decode(&p)
	return p
}

func (a *answer) decode(v any) {
	a.t.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		a.t.Fatalf("%v: %s", err, a.body)
	}
}

type identifier struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

type order struct {
	URL            string `json:"-"`
	Status         string
	Expires        string
	Identifiers    []identifier
	NotAfter       string
	Profile        string
	Replaces       string
	Error          *problem
	Authorizations []string
	Finalize       string
	Certificate    string
}

type authorization struct {
	Status     string
	Expires    string
	Identifier identifier
	Wildcard   bool
	Challenges []challenge
}

type challenge struct {
	Type, URL, Token, Status string
	Error                    *problem
}

// identify returns identifiers of the right types.
func identify(names ...string) (ids []identifier) {
	for _, name := range names {
		id := identifier{"dns", name}
		if net.ParseIP(name) != nil {
			id.Type = "ip"
		}
		ids = append(ids, id)
	}
	return ids
}

func (c *client) newOrder(names ...string) *order {
	c.t.Helper()
	return c.order(map[string]any{"identifiers": identify(names...)})
}

// order sends newOrder with a payload that it takes.
func (c *client) order(payload map[string]any) *order {
	c.t.Helper()
	answer := c.post(c.resource("newOrder"), payload).want(http.StatusCreated, "")
	o := &order{URL: answer.header.Get("Location")}
	answer.decode(o)
	return o
}

func (c *client) getOrder(url string) *order {
	c.t.Helper()
	o := &order{URL: url}
	c.post(url, nil).want(http.StatusOK, "").decode(o)
	return o
}

func (c *client) authorization(url string) (a authorization) {
	c.t.Helper()
	c.post(url, nil).want(http.StatusOK, "").decode(&a)
	return a
}

// challenge returns the challenge of a type, and fails the test if there is none.
func (a authorization) challenge(t *testing.T, challengeType string) challenge {
	t.Helper()
	for _, c := range a.Challenges {
		if c.Type == challengeType {
			return c
		}
	}
	t.Fatalf("%s has no %s challenge, but %v", a.Identifier.Value, challengeType, a.Challenges)
	return challenge{}
}

// keyAuthorization returns the answer to a challenge (RFC 8555 §8.1).
func (c *client) keyAuthorization(token string) string {
	c.t.Helper()
	sum, err := (&jose.JSONWebKey{Key: c.key.Public()}).Thumbprint(crypto.SHA256)
	if err != nil {
		c.t.Fatal(err)
	}
	return token + "." + base64.RawURLEncoding.EncodeToString(sum)
}

// newCSR returns the payload of finalize.
func newCSR(t *testing.T, template *x509.CertificateRequest, key crypto.Signer) map[string]string {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"csr": base64.RawURLEncoding.EncodeToString(der)}
}

// chain fetches a certificate and what comes with it.
func (c *client) chain(url string) (chain []*x509.Certificate) {
	c.t.Helper()
	answer := c.post(url, nil).want(http.StatusOK, "")
	if got := answer.header.Get("Content-Type"); got != "application/pem-certificate-chain" {
		c.t.Errorf("Content-Type %q of a certificate", got)
	}
	for rest := answer.body; len(rest) > 0; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			c.t.Fatalf("not PEM: %q", rest)
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			c.t.Fatal(err)
		}
		chain = append(chain, certificate)
	}
	return chain
}
