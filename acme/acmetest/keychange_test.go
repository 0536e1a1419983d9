package acmetest_test

import (
	"crypto"
	"crypto/elliptic"
	"encoding/json"
	"maps"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/everseal/everseal/acme/acmetest"
)

// changeKey asks for another key; edit may change what the inner JWS has before it is signed.
func (c *client) changeKey(key crypto.Signer, edit func(header, payload map[string]any)) *answer {
	c.t.Helper()
	url := c.resource("keyChange")
	header := map[string]any{"alg": algorithm(key), "jwk": jwk(c.t, key), "url": url}
	payload := map[string]any{"account": c.kid, "oldKey": jwk(c.t, c.key)}
	if edit != nil {
		edit(header, payload)
	}
	absent := func(_ string, value any) bool { return value == nil }
	maps.DeleteFunc(header, absent)
	maps.DeleteFunc(payload, absent)
	inner := seal(c.t, header, marshal(c.t, payload), func(data []byte) []byte { return signWith(c.t, key, data) })
	return c.post(url, json.RawMessage(inner))
}

func TestKeyChange(t *testing.T) {
	var kept acmetest.Account
	ca := acmetest.NewUnstartedServer()
	ca.OnAccount = func(a acmetest.Account) { kept = a }
	ca.StartInMemory()
	defer ca.Close()
	c := newAccount(t, ca)
	oldKey, newKey, url := c.key, newKey(t, elliptic.P384()), c.kid
	o := c.newOrder("example.com")
	c.changeKey(newKey, nil).want(http.StatusOK, "")
	if string(kept.Key) != string(jwk(t, newKey)) || kept.ID == "" {
		t.Errorf("the account %+v was kept, not with the new key %s", kept, jwk(t, newKey))
	}

	c.post(c.kid, nil).want(http.StatusBadRequest, "malformed") // signed with the old key still
	c.register(map[string]any{"onlyReturnExisting": true}).want(http.StatusBadRequest, "accountDoesNotExist")
	c.key = newKey
	c.register(map[string]any{"onlyReturnExisting": true}).want(http.StatusOK, "")
	if c.kid != url {
		t.Errorf("the account with the new key is %s, want %s", c.kid, url)
	}
	if got := c.getOrder(o.URL); got.Status != "pending" {
		t.Errorf("the account's order is %+v after the change", got)
	}
	c.key = oldKey // free again, for an account of its own
	c.register(map[string]any{"termsOfServiceAgreed": true}).want(http.StatusCreated, "")
	if c.kid == url {
		t.Error("the old key still leads to the account")
	}
	c.post(o.URL, nil).want(http.StatusForbidden, "unauthorized")
}

// What a challenge is answered with depends on the key that the account has when it is accepted.
func TestKeyChangeBeforeAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		c := newAccount(t, n.newCA(t, nil))
		o := c.newOrder("example.com")
		next := newKey(t, elliptic.P256())
		c.changeKey(next, nil).want(http.StatusOK, "")
		c.key = next
		n.prove(c, o, "http-01")
		finalize(c, o, newKey(t, elliptic.P256()))
	})
}

func TestKeyChangeRefused(t *testing.T) {
	ca := inMemory(t)
	c, other, gone := newAccount(t, ca), newAccount(t, ca), newAccount(t, ca)
	gone.post(gone.kid, map[string]any{"status": "deactivated"}).want(http.StatusOK, "")
	for _, used := range []*client{c, other, gone} {
		answer := c.changeKey(used.key, nil).want(http.StatusConflict, "malformed")
		if got := answer.header.Get("Location"); got != used.kid {
			t.Errorf("Location %q of the conflict, want the account that has the key, %q", got, used.kid)
		}
	}
	next := newKey(t, elliptic.P256())
	another := newKey(t, elliptic.P256())
	edKey := json.RawMessage(`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`) // RFC 8037 appendix A.2
	header := func(name string, value any) func(header, payload map[string]any) {
		return func(header, _ map[string]any) { header[name] = value }
	}
	payload := func(name string, value any) func(header, payload map[string]any) {
		return func(_, payload map[string]any) { payload[name] = value }
	}
	for _, test := range []struct {
		name string
		edit func(header, payload map[string]any)
		want string
	}{
		{"a nonce", header("nonce", "bm9uY2U"), "malformed"},
		{"no jwk", header("jwk", nil), "malformed"},
		{"kid and jwk", header("kid", c.kid), "malformed"},
		{"kid instead of jwk", func(h, _ map[string]any) { h["kid"], h["jwk"] = c.kid, nil }, "malformed"},
		{"no url", header("url", nil), "malformed"},
		{"another url", header("url", c.resource("newOrder")), "malformed"},
		{"another alg", header("alg", "ES384"), "malformed"},
		{"a MAC", header("alg", "HS256"), "badSignatureAlgorithm"},
		{"signed by another key", header("jwk", jwk(t, another)), "malformed"},
		{"signed by the old key", header("jwk", jwk(t, c.key)), "malformed"},
		{"a kind of key that accounts cannot have", header("jwk", edKey), "badPublicKey"},
		{"no account", payload("account", nil), "malformed"},
		{"another account", payload("account", other.kid), "malformed"},
		{"account not a string", payload("account", 1), "malformed"},
		{"no oldKey", payload("oldKey", nil), "malformed"},
		{"oldKey of another account", payload("oldKey", jwk(t, other.key)), "malformed"},
		{"the new key as oldKey", payload("oldKey", jwk(t, next)), "malformed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c.t = t
			c.changeKey(next, test.edit).want(http.StatusBadRequest, test.want)
		})
	}
	c.t = t
	for _, inner := range []any{nil, map[string]any{}, "[]", `{"protected":"!","payload":"","signature":""}`} {
		c.post(c.resource("keyChange"), inner).want(http.StatusBadRequest, "malformed")
	}
	kid := c.kid
	c.kid = "" // an outer JWS that carries the key
	c.post(c.resource("keyChange"), map[string]any{}).want(http.StatusBadRequest, "malformed")
	c.kid = kid
	c.post(c.kid, nil).want(http.StatusOK, "") // still with the old key
}
