package acmetest_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/everseal/everseal/acme/acmetest"
)

// inMemory returns a started server without a socket.
func inMemory(t *testing.T) *acmetest.Server {
	t.Helper()
	ca := acmetest.NewUnstartedServer()
	ca.StartInMemory()
	t.Cleanup(ca.Close)
	return ca
}

// edited returns a request by an account to newOrder, with a changed protected header.
func edited(c *client, edit func(header map[string]any)) *answer {
	c.t.Helper()
	url := c.resource("newOrder")
	return c.send(url, c.sign(url, map[string]any{"identifiers": identify("example.com")}, edit))
}

// reassembled returns a request to newOrder whose JWS, rightly signed, was changed afterwards.
func reassembled(c *client, change func(jws map[string]any)) *answer {
	c.t.Helper()
	url := c.resource("newOrder")
	jws := make(map[string]any)
	if err := json.Unmarshal(c.sign(url, map[string]any{"identifiers": identify("example.com")}, nil), &jws); err != nil {
		c.t.Fatal(err)
	}
	change(jws)
	return c.send(url, marshal(c.t, jws))
}

func set(name string, value any) func(map[string]any) {
	return func(m map[string]any) { m[name] = value }
}

func TestProtectedHeader(t *testing.T) {
	ca := inMemory(t)
	c := newAccount(t, ca)
	other := newAccount(t, ca)
	edited(c, nil).want(http.StatusCreated, "")
	for _, test := range []struct {
		name   string
		edit   func(header map[string]any)
		status int
		want   string
	}{
		{"no alg", set("alg", nil), 400, "badSignatureAlgorithm"},
		{"alg none", set("alg", "none"), 400, "badSignatureAlgorithm"},
		{"a MAC", set("alg", "HS256"), 400, "badSignatureAlgorithm"},
		{"EdDSA", set("alg", "EdDSA"), 400, "badSignatureAlgorithm"},
		{"RSA-PSS", set("alg", "PS256"), 400, "badSignatureAlgorithm"},
		{"alg of another curve", set("alg", "ES384"), 400, "malformed"},
		{"alg of another kind of key", set("alg", "RS256"), 400, "malformed"},
		{"alg a number", set("alg", 1), 400, "malformed"},
		{"kid and jwk", set("jwk", jwk(t, c.key)), 400, "malformed"},
		{"neither kid nor jwk", set("kid", nil), 400, "malformed"},
		{"jwk instead of kid", func(h map[string]any) { h["kid"], h["jwk"] = nil, jwk(t, c.key) }, 400, "malformed"},
		{"kid unknown", set("kid", c.kid+"x"), 400, "accountDoesNotExist"},
		{"kid without its URL", set("kid", c.kid[strings.LastIndex(c.kid, "/")+1:]), 400, "accountDoesNotExist"},
		{"kid of another account", set("kid", other.kid), 400, "malformed"},
		{"no url", set("url", nil), 400, "malformed"},
		{"another url", set("url", c.resource("newAccount")), 403, "unauthorized"},
		{"url with a query", set("url", c.resource("newOrder")+"?"), 403, "unauthorized"},
		{"no nonce", set("nonce", nil), 400, "badNonce"},
		{"a nonce of the client's own", set("nonce", "bm9uY2U"), 400, "badNonce"},
		{"a nonce with padding", set("nonce", "bm9uY2U="), 400, "malformed"},
		{"a nonce that is no base64url", set("nonce", "+/+/"), 400, "malformed"},
		{"unencoded payload, signed as encoded", set("b64", false), 400, "malformed"},
		{"critical parameters", set("crit", []string{"exp"}), 400, "malformed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c.t = t
			edited(c, test.edit).want(test.status, test.want)
		})
	}
	c.t = t
	algorithms := edited(c, set("alg", "EdDSA")).problem().Algorithms
	if want := []string{"RS256", "ES256", "ES384", "ES512"}; !slices.Equal(algorithms, want) {
		t.Errorf("algorithms %v, want %v", algorithms, want)
	}
	edited(c, nil).want(http.StatusCreated, "")
}

func TestSerialization(t *testing.T) {
	c := newAccount(t, inMemory(t))
	str := func(v any) string { s, _ := v.(string); return s }
	for _, test := range []struct {
		name   string
		change func(jws map[string]any)
	}{
		{"general serialization", func(jws map[string]any) {
			jws["signatures"] = []any{map[string]any{"protected": jws["protected"], "signature": jws["signature"]}}
		}},
		{"unprotected header", set("header", map[string]any{"alg": "ES256"})},
		{"no protected header", func(jws map[string]any) { delete(jws, "protected") }},
		{"no payload", func(jws map[string]any) { delete(jws, "payload") }},
		{"no signature", func(jws map[string]any) { delete(jws, "signature") }},
		{"payload padded", func(jws map[string]any) { jws["payload"] = str(jws["payload"]) + "=" }},
		{"payload with a line break", func(jws map[string]any) { jws["payload"] = str(jws["payload"]) + "\n" }},
		{"signature in plain base64", set("signature", "+/+/")},
		{"protected header not base64url", set("protected", "{}")},
		{"protected header not JSON", set("protected", "bm9uY2U")},
		{"payload a number", set("payload", 1)},
		{"payload of another request", set("payload", base64.RawURLEncoding.EncodeToString([]byte(`{"identifiers":[{"type":"dns","value":"example.org"}]}`)))},
		{"signature cut", func(jws map[string]any) { jws["signature"] = str(jws["signature"])[:40] }},
		{"signature of zeros", set("signature", base64.RawURLEncoding.EncodeToString(make([]byte, 64)))},
	} {
		t.Run(test.name, func(t *testing.T) {
			c.t = t
			reassembled(c, test.change).want(http.StatusBadRequest, "malformed")
		})
	}
	c.t = t
	url := c.resource("newOrder")
	for _, body := range []string{"", "null", "[]", "{}", "a.b.c", "<html>"} {
		c.send(url, []byte(body)).want(http.StatusBadRequest, "malformed")
	}
	c.send(url, bytes.Repeat([]byte(" "), 200<<10)).want(http.StatusRequestEntityTooLarge, "malformed")
	reassembled(c, func(map[string]any) {}).want(http.StatusCreated, "")
}

// The signature over a payload that is not encoded (RFC 7797) is right, but RFC 8555 §6.2 has none of it.
func TestUnencodedPayload(t *testing.T) {
	c := newAccount(t, inMemory(t))
	url := c.resource("newOrder")
	payload := marshal(t, map[string]any{"identifiers": identify("example.com")})
	header := map[string]any{"alg": "ES256", "kid": c.kid, "url": url, "nonce": c.takeNonce(), "b64": false, "crit": []string{"b64"}}
	body := seal(t, header, payload, func(data []byte) []byte {
		protected, _, _ := strings.Cut(string(data), ".")
		return signWith(t, c.key, []byte(protected+"."+string(payload)))
	})
	c.send(url, body).want(http.StatusBadRequest, "malformed")
}

func TestAnotherKeysSignature(t *testing.T) {
	c := newAccount(t, inMemory(t))
	right := c.key
	c.key = newKey(t, elliptic.P256())
	edited(c, nil).want(http.StatusBadRequest, "malformed")
	c.key = right
	edited(c, nil).want(http.StatusCreated, "")
}

// A forger without the key must not be able to use up nonces.
func TestNonceIsUsedOnce(t *testing.T) {
	c := newAccount(t, inMemory(t))
	nonce := c.takeNonce()
	reassembled(c, set("signature", base64.RawURLEncoding.EncodeToString(make([]byte, 64)))).want(400, "malformed")
	edited(c, set("nonce", nonce)).want(http.StatusCreated, "")
	answer := edited(c, set("nonce", nonce)).want(http.StatusBadRequest, "badNonce")
	if fresh := answer.header.Get("Replay-Nonce"); fresh == "" || fresh == nonce {
		t.Errorf("badNonce came with the nonce %q", fresh)
	}
	edited(c, nil).want(http.StatusCreated, "")
}

func TestNoncesAreBounded(t *testing.T) {
	c := newAccount(t, inMemory(t))
	oldest := c.takeNonce()
	for range 4095 {
		c.get(c.resource("newNonce"))
	}
	edited(c, set("nonce", oldest)).want(http.StatusCreated, "")
	oldest = c.takeNonce()
	for range 4096 {
		c.get(c.resource("newNonce"))
	}
	edited(c, set("nonce", oldest)).want(http.StatusBadRequest, "badNonce")
}

func TestNewNonce(t *testing.T) {
	c := newClient(t, inMemory(t))
	seen := make(map[string]bool)
	for method, status := range map[string]int{http.MethodHead: 200, http.MethodGet: 204} {
		request, err := http.NewRequestWithContext(t.Context(), method, c.resource("newNonce"), nil)
		if err != nil {
			t.Fatal(err)
		}
		answer := c.do(request).want(status, "")
		if got := answer.header.Get("Cache-Control"); got != "no-store" {
			t.Errorf("%s: Cache-Control %q", method, got)
		}
		nonce := answer.header.Get("Replay-Nonce")
		if nonce == "" || seen[nonce] || len(answer.body) > 0 {
			t.Errorf("%s: nonce %q, body %q", method, nonce, answer.body)
		}
		seen[nonce] = true
	}
}

func TestMethodAndHeaders(t *testing.T) {
	ca := inMemory(t)
	c := newAccount(t, ca)
	request := func(method, url string, header http.Header) *answer {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, url, io.NopCloser(strings.NewReader("{}")))
		if err != nil {
			t.Fatal(err)
		}
		r.Header = header
		return c.do(r)
	}
	jose := http.Header{"Content-Type": {"application/jose+json"}}
	for _, name := range []string{"newAccount", "newOrder"} {
		answer := request(http.MethodGet, c.resource(name), jose).want(http.StatusMethodNotAllowed, "malformed")
		if got := answer.header.Get("Allow"); got != "POST" {
			t.Errorf("%s: Allow %q", name, got)
		}
	}
	order := c.newOrder("example.com")
	for _, url := range []string{c.kid, order.URL, order.Finalize, order.Authorizations[0]} {
		c.get(url).want(http.StatusMethodNotAllowed, "malformed")
	}
	request(http.MethodPost, ca.URL, jose).want(http.StatusMethodNotAllowed, "malformed")
	request(http.MethodPost, c.resource("newNonce"), jose).want(http.StatusMethodNotAllowed, "malformed")
	for _, contentType := range []string{"", "application/json", "application/jose", "text/plain; x="} {
		request(http.MethodPost, c.resource("newOrder"), http.Header{"Content-Type": {contentType}}).want(http.StatusUnsupportedMediaType, "malformed")
	}
	request(http.MethodGet, ca.URL, http.Header{"User-Agent": {""}}).want(http.StatusBadRequest, "malformed")
	c.get(strings.TrimSuffix(ca.URL, "directory")+"nothing").want(http.StatusNotFound, "malformed")
	for _, resource := range []string{"order", "authorization", "challenge", "certificate"} {
		c.post(strings.TrimSuffix(ca.URL, "directory")+resource+"/none", nil).want(http.StatusNotFound, "malformed")
	}
}

func TestDirectory(t *testing.T) {
	c := newClient(t, inMemory(t))
	answer := c.get("https://acmetest.invalid/directory").want(http.StatusOK, "")
	var got map[string]any
	answer.decode(&got)
	want := map[string]any{"meta": map[string]any{"termsOfService": "https://acmetest.invalid/terms", "caaIdentities": []any{"acmetest.invalid"}}}
	for _, name := range []string{"newNonce", "newAccount", "newOrder", "newAuthz", "keyChange", "revokeCert", "renewalInfo"} {
		want[name] = "https://acmetest.invalid/" + name
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("directory %v\nwant      %v", got, want)
	}
	c.get("https://acmetest.invalid/terms").want(http.StatusOK, "")
	if slices.Contains(c.get(c.resource("newNonce")).header.Values("Link"), `<https://acmetest.invalid/directory>;rel="index"`) {
		return
	}
	t.Error("newNonce has no Link to the directory")
}

func TestAccountKeys(t *testing.T) {
	c := newClient(t, inMemory(t))
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	c.key = rsaKey
	c.register(map[string]any{"termsOfServiceAgreed": true}).want(http.StatusCreated, "")
	edited(c, nil).want(http.StatusCreated, "")
	c.key = newKey(t, elliptic.P384())
	c.register(map[string]any{"termsOfServiceAgreed": true}).want(http.StatusCreated, "")
	edited(c, nil).want(http.StatusCreated, "")
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	modulus := func(bits int) string {
		n := make([]byte, bits/8)
		n[0], n[len(n)-1] = 0xc0, 1
		return base64.RawURLEncoding.EncodeToString(n)
	}
	for _, test := range []struct{ name, jwk, want string }{
		{"RSA 1024", `{"kty":"RSA","e":"AQAB","n":"` + modulus(1024) + `"}`, "badPublicKey"},
		{"RSA 2040", `{"kty":"RSA","e":"AQAB","n":"` + modulus(2040) + `"}`, "badPublicKey"},
		{"RSA 16384", `{"kty":"RSA","e":"AQAB","n":"` + modulus(16384) + `"}`, "badPublicKey"},
		{"RSA, exponent 1", `{"kty":"RSA","e":"AQ","n":"` + modulus(2048) + `"}`, "badPublicKey"},
		{"RSA, even exponent", `{"kty":"RSA","e":"BA","n":"` + modulus(2048) + `"}`, "badPublicKey"},
		{"a point off the curve", `{"kty":"EC","crv":"P-256","x":"` + modulus(256) + `","y":"` + modulus(256) + `"}`, "badPublicKey"},
		{"Ed25519", string(marshal(t, jose.JSONWebKey{Key: ed.Public()})), "badPublicKey"},
		{"a private key", string(marshal(t, jose.JSONWebKey{Key: c.key})), "malformed"},
		{"a symmetric key", `{"kty":"oct","k":"c2VjcmV0"}`, "malformed"},
		{"nothing", `{}`, "badPublicKey"},
		{"null", `null`, "badPublicKey"},
		{"a string", `"key"`, "badPublicKey"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c.t, c.kid = t, ""
			url := c.resource("newAccount")
			answer := c.send(url, c.sign(url, map[string]any{"termsOfServiceAgreed": true}, set("jwk", json.RawMessage(test.jwk))))
			answer.want(http.StatusBadRequest, test.want)
			if strings.Contains(string(answer.body), `"d":`) || strings.Contains(string(answer.body), "c2VjcmV0") {
				t.Errorf("the answer repeats the key: %s", answer.body)
			}
		})
	}
}
