package acmetest_test

import (
	"bytes"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	josejson "github.com/go-jose/go-jose/v4/json" // tells members apart by case and takes none twice

	"github.com/everseal/everseal/acme/acmetest"
)

// What the inputs of FuzzJWS have instead of what is new each time.
const (
	nonceHere = "{{nonce}}"
	urlHere   = "{{url}}"
	keyHere   = `"{{jwk}}"`
	kidHere   = "{{kid}}"
)

// FuzzJWS posts requests whose protected header is anything and is signed well, with members beside it that
// were not. Whatever comes is answered, and refused but where it keeps to all of RFC 8555 §6.2 to §6.5:
// that it was taken shows in its nonce, which is good for no other request then.
func FuzzJWS(f *testing.F) {
	f.Add(`{"alg":"ES256","nonce":"{{nonce}}","url":"{{url}}","jwk":"{{jwk}}"}`, `{"onlyReturnExisting":true}`, "")
	f.Add(`{"alg":"ES256","nonce":"{{nonce}}","url":"{{url}}","kid":"{{kid}}"}`, ``, `,"x":1`)
	f.Add(`{"alg":"none","nonce":"{{nonce}}","url":"{{url}}","jwk":"{{jwk}}"}`, `{}`, `,"header":{"alg":"ES256"}`)
	f.Add(``, ``, `{"payload":"","signatures":[{"protected":"","signature":""}]}`)
	ca := acmetest.NewUnstartedServer()
	ca.StartInMemory()
	f.Cleanup(ca.Close)
	account := &client{http: ca.Client()}
	f.Fuzz(func(t *testing.T, header, payload, members string) {
		c := account
		c.t = t
		if c.key == nil {
			c.key = newKey(t, elliptic.P256())
			c.get(ca.URL).decode(&c.directory)
			c.register(map[string]any{"termsOfServiceAgreed": true}).want(http.StatusCreated, "")
		}
		nonce, url := c.takeNonce(), c.resource("newAccount")
		header = strings.NewReplacer(nonceHere, nonce, urlHere, url, keyHere, string(jwk(t, c.key)), kidHere, c.kid).Replace(header)
		body := []byte(members)
		if header != "" {
			body = c.sealRaw(header, payload, members)
		}
		a := c.send(url, body)
		c.wantAnswer(a)
		taken := !c.isGood(nonce)
		if err := keepsToTheRules(body, nonce, url); taken && err != "" {
			t.Errorf("%q with the header %q was taken though %s: %d %s", body, header, err, a.status, a.body)
		}
		if a.status < 300 && !taken {
			t.Errorf("%q was answered with %d without its nonce being used up", body, a.status)
		}
	})
}

// sealRaw signs a header as it is. The members stand after those of the JWS.
func (c *client) sealRaw(header, payload, members string) []byte {
	c.t.Helper()
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode([]byte(header)) + "." + encode([]byte(payload))
	var body bytes.Buffer
	body.WriteString(`{"protected":"` + encode([]byte(header)) + `","payload":"` + encode([]byte(payload)) + `"`)
	body.WriteString(`,"signature":"` + encode(signWith(c.t, c.key, []byte(signed))) + `"` + members + `}`)
	return body.Bytes()
}

// wantAnswer checks that a request was taken or refused with a problem that can be logged, and that a nonce
// came with the answer.
func (c *client) wantAnswer(a *answer) {
	c.t.Helper()
	if a.header.Get("Replay-Nonce") == "" {
		c.t.Error("the answer has no nonce")
	}
	if a.status < 300 {
		return
	}
	var problem struct{ Type, Detail string }
	if err := json.Unmarshal(a.body, &problem); err != nil || a.status >= 500 || !strings.HasPrefix(problem.Type, "urn:ietf:params:acme:error:") {
		c.t.Errorf("status %d with %q", a.status, a.body)
	}
	unprintable := func(r rune) bool { return !unicode.IsPrint(r) }
	if len(problem.Detail) > 2000 || !utf8.ValidString(problem.Detail) || strings.ContainsFunc(problem.Detail, unprintable) {
		c.t.Errorf("%d bytes of detail, or some that do not print: %.500q", len(problem.Detail), problem.Detail)
	}
}

// isGood reports whether the nonce is good for a request, by using it up.
func (c *client) isGood(nonce string) bool {
	c.t.Helper()
	fresh := c.nonce
	c.nonce = nonce
	a := c.post(c.kid, nil)
	if a.status != http.StatusOK && !strings.Contains(string(a.body), "badNonce") {
		c.t.Fatalf("status %d with %q", a.status, a.body)
	}
	if c.nonce == "" {
		c.nonce = fresh
	}
	return a.status == http.StatusOK
}

// keepsToTheRules returns what is wrong with a request to newAccount, as far as it can be told without
// verifying the signature, or "".
func keepsToTheRules(body []byte, nonce, url string) string {
	var members, header map[string]any
	if err := josejson.Unmarshal(body, &members); err != nil {
		return "the body is no JSON object: " + err.Error()
	}
	for _, name := range []string{"header", "signatures"} {
		if _, ok := members[name]; ok {
			return "it has the member " + name
		}
	}
	for _, name := range []string{"protected", "payload", "signature"} {
		value, ok := members[name].(string)
		if _, err := base64.RawURLEncoding.Strict().DecodeString(value); err != nil || !ok {
			return name + " is not base64url"
		}
	}
	protected, _ := base64.RawURLEncoding.DecodeString(members["protected"].(string)) // as seen above
	if err := josejson.Unmarshal(protected, &header); err != nil {
		return "the header is no JSON object: " + err.Error()
	}
	switch {
	case header["alg"] != "ES256":
		return "alg is another than the key's"
	case header["nonce"] != nonce:
		return "the nonce is another"
	case header["url"] != url:
		return "the url is another"
	case header["jwk"] == nil:
		return "there is no jwk"
	case header["crit"] != nil || header["b64"] != nil:
		return "it has extensions that must be understood"
	case header["kid"] != nil:
		return "there are both jwk and kid"
	}
	return ""
}

// A well-formed request of the kind that FuzzJWS makes is taken, so that it sees more than refusals.
func TestFuzzedRequestIsTaken(t *testing.T) {
	c := newAccount(t, inMemory(t))
	nonce, url := c.takeNonce(), c.resource("newAccount")
	header := `{"alg":"ES256","nonce":"` + nonce + `","url":"` + url + `","jwk":` + string(jwk(t, c.key)) + `}`
	body := c.sealRaw(header, `{"onlyReturnExisting":true}`, `,"unknown":[]`)
	c.send(url, body).want(http.StatusOK, "")
	if reason := keepsToTheRules(body, nonce, url); reason != "" || c.isGood(nonce) {
		t.Errorf("it does not keep to the rules: %s; or its nonce is good still", reason)
	}
}

// TestFuzzCorpus fails where no inputs are kept for the fuzz target.
func TestFuzzCorpus(t *testing.T) {
	if kept, err := os.ReadDir("testdata/fuzz/FuzzJWS"); err != nil || len(kept) == 0 {
		t.Errorf("FuzzJWS has no inputs kept (%v)", err)
	}
}
