package acmetest_test

import (
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/json"
	"hash"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/everseal/everseal/acme/acmetest"
)

type account struct {
	Status                 string
	Contact                []string
	TermsOfServiceAgreed   bool
	ExternalAccountBinding json.RawMessage
}

func TestNewAccount(t *testing.T) {
	ca := inMemory(t)
	c := newClient(t, ca)
	c.register(map[string]any{"onlyReturnExisting": true}).want(http.StatusBadRequest, "accountDoesNotExist")
	refused := c.register(map[string]any{}).want(http.StatusForbidden, "userActionRequired")
	terms := "https://acmetest.invalid/terms"
	if refused.problem().Instance != terms || !slices.Contains(refused.header.Values("Link"), "<"+terms+`>;rel="terms-of-service"`) {
		t.Errorf("the refusal does not lead to the terms: %s, Link %q", refused.body, refused.header.Values("Link"))
	}
	created := c.register(map[string]any{"termsOfServiceAgreed": true, "contact": []string{"mailto:admin@example.com"}}).want(http.StatusCreated, "")
	var got account
	created.decode(&got)
	if want := (account{Status: "valid", Contact: []string{"mailto:admin@example.com"}, TermsOfServiceAgreed: true}); !reflect.DeepEqual(got, want) {
		t.Errorf("account %+v, want %+v", got, want)
	}
	url := c.kid
	for _, payload := range []map[string]any{
		{"onlyReturnExisting": true},
		{"termsOfServiceAgreed": true, "contact": []string{"mailto:other@example.com"}},
	} {
		again := c.register(payload).want(http.StatusOK, "")
		var existing account
		again.decode(&existing)
		if c.kid != url || !reflect.DeepEqual(existing, got) {
			t.Errorf("the existing account %s is %+v; it was made as %s, %+v", c.kid, existing, url, got)
		}
	}
	if other := newAccount(t, ca); other.kid == url {
		t.Error("another key has the same account")
	}
	c.post(c.resource("newAccount"), map[string]any{"termsOfServiceAgreed": true}).want(http.StatusBadRequest, "malformed") // kid instead of jwk
	for _, payload := range []string{"", "null1", "[]", `{"contact":"mailto:admin@example.com"}`} {
		c.register(payload).want(http.StatusBadRequest, "malformed")
	}
}

func TestContacts(t *testing.T) {
	ca := inMemory(t)
	registered := newAccount(t, ca)
	many := slices.Repeat([]string{"mailto:admin@example.com"}, 11)
	for _, test := range []struct {
		contact []string
		want    string
	}{
		{[]string{"mailto:admin@example.com", "tel:+12025551212"}, "unsupportedContact"},
		{[]string{"https://example.com/"}, "unsupportedContact"},
		{[]string{"admin@example.com"}, "invalidContact"},
		{[]string{""}, "invalidContact"},
		{[]string{"mailto:"}, "invalidContact"},
		{[]string{"mailto:admin"}, "invalidContact"},
		{[]string{"mailto:admin@localhost"}, "invalidContact"},
		{[]string{"mailto:a@example.com,b@example.com"}, "invalidContact"},
		{[]string{"mailto:a@example.com?subject=x"}, "invalidContact"},
		{[]string{"mailto:Admin <a@example.com>"}, "invalidContact"},
		{many, "malformed"},
	} {
		t.Run(strings.Join(test.contact, " "), func(t *testing.T) {
			newClient(t, ca).register(map[string]any{"termsOfServiceAgreed": true, "contact": test.contact}).want(http.StatusBadRequest, test.want)
			registered.t = t
			registered.post(registered.kid, map[string]any{"contact": test.contact}).want(http.StatusBadRequest, test.want)
		})
	}
}

func TestChangeAccount(t *testing.T) {
	ca := inMemory(t)
	c, other := newAccount(t, ca), newAccount(t, ca)
	show := func(payload any) (a account) {
		t.Helper()
		c.post(c.kid, payload).want(http.StatusOK, "").decode(&a)
		return a
	}
	contact := []string{"mailto:admin@example.com"}
	if a := show(map[string]any{"contact": contact}); !slices.Equal(a.Contact, contact) {
		t.Errorf("contacts %v, want %v", a.Contact, contact)
	}
	if a := show(nil); !slices.Equal(a.Contact, contact) || a.Status != "valid" {
		t.Errorf("account %+v after nothing was changed", a)
	}
	if a := show(map[string]any{"contact": []string{}}); len(a.Contact) > 0 {
		t.Errorf("contacts %v were to be removed", a.Contact)
	}
	c.post(other.kid, nil).want(http.StatusForbidden, "unauthorized")
	c.post(other.kid, map[string]any{"status": "deactivated"}).want(http.StatusForbidden, "unauthorized")
	c.post(c.kid, map[string]any{"status": "revoked"}).want(http.StatusBadRequest, "malformed")
	if a := show(map[string]any{"status": "deactivated"}); a.Status != "deactivated" {
		t.Errorf("account %+v after deactivation", a)
	}
	c.post(c.kid, nil).want(http.StatusUnauthorized, "unauthorized")
	edited(c, nil).want(http.StatusUnauthorized, "unauthorized")
	c.register(map[string]any{"termsOfServiceAgreed": true}).want(http.StatusUnauthorized, "unauthorized")
	edited(other, nil).want(http.StatusCreated, "")
}

func TestExternalAccount(t *testing.T) {
	macKey, shortKey := []byte("a MAC key that has 32 bytes and more"), []byte("short")
	ca := acmetest.NewUnstartedServer()
	ca.ExternalAccounts = map[string][]byte{"external-1": macKey, "external-2": shortKey}
	ca.StartInMemory()
	defer ca.Close()
	c := newClient(t, ca)
	meta, _ := c.directory["meta"].(map[string]any)
	if meta["externalAccountRequired"] != true {
		t.Errorf("the directory does not say that external accounts are required: %v", meta)
	}
	another := jwk(t, newKey(t, elliptic.P256()))
	none := func(map[string]any) {}
	for _, test := range []struct {
		name    string
		edit    func(header map[string]any)
		payload json.RawMessage // nil: the key that signs
		newHash func() hash.Hash
		key     []byte
		status  int
		want    string
	}{
		{"HS256", none, nil, sha256.New, macKey, 201, ""},
		{"HS384", set("alg", "HS384"), nil, sha512.New384, macKey, 201, ""},
		{"HS512", set("alg", "HS512"), nil, sha512.New, macKey, 201, ""},
		{"a short key", set("kid", "external-2"), nil, sha256.New, shortKey, 201, ""},
		{"wrong MAC", none, nil, sha256.New, []byte("another MAC key of at least 32 bytes"), 403, "unauthorized"},
		{"MAC of another algorithm", set("alg", "HS512"), nil, sha256.New, macKey, 403, "unauthorized"},
		{"unknown key identifier", set("kid", "external-3"), nil, sha256.New, macKey, 403, "unauthorized"},
		{"no key identifier", set("kid", nil), nil, sha256.New, macKey, 400, "malformed"},
		{"jwk", set("jwk", another), nil, sha256.New, macKey, 400, "malformed"},
		{"a nonce", set("nonce", "bm9uY2U"), nil, sha256.New, macKey, 400, "malformed"},
		{"no url", set("url", nil), nil, sha256.New, macKey, 400, "malformed"},
		{"another url", set("url", c.resource("newOrder")), nil, sha256.New, macKey, 400, "malformed"},
		{"not a MAC", set("alg", "ES256"), nil, sha256.New, macKey, 400, "badSignatureAlgorithm"},
		{"another key", none, another, sha256.New, macKey, 400, "malformed"},
		{"no key", none, json.RawMessage("{}"), sha256.New, macKey, 400, "malformed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newClient(t, ca)
			header := map[string]any{"alg": "HS256", "kid": "external-1", "url": c.resource("newAccount")}
			test.edit(header)
			for name, value := range header {
				if value == nil {
					delete(header, name)
				}
			}
			if test.payload == nil {
				test.payload = jwk(t, c.key)
			}
			binding := json.RawMessage(seal(t, header, test.payload, func(data []byte) []byte {
				mac := hmac.New(test.newHash, test.key)
				mac.Write(data)
				return mac.Sum(nil)
			}))
			answer := c.register(map[string]any{"termsOfServiceAgreed": true, "externalAccountBinding": binding}).want(test.status, test.want)
			if test.want != "" {
				return
			}
			var created account
			answer.decode(&created)
			if string(created.ExternalAccountBinding) != string(binding) {
				t.Errorf("the account's binding is %s, want %s", created.ExternalAccountBinding, binding)
			}
		})
	}
	c.register(map[string]any{"termsOfServiceAgreed": true}).want(http.StatusForbidden, "externalAccountRequired")
	c.register(map[string]any{"termsOfServiceAgreed": true, "externalAccountBinding": "?"}).want(http.StatusBadRequest, "malformed")
}

// Accounts and root that were kept are those of the next server.
func TestCAOutlivesItsProcess(t *testing.T) {
	var mu sync.Mutex
	kept := make(map[string]acmetest.Account)
	first := acmetest.NewUnstartedServer()
	first.OnAccount = func(a acmetest.Account) {
		mu.Lock()
		defer mu.Unlock()
		kept[a.ID] = a
	}
	first.StartInMemory()
	defer first.Close()
	c, gone := newAccount(t, first), newAccount(t, first)
	if len(kept) != 2 {
		t.Fatalf("%d accounts were kept when 2 had been answered", len(kept))
	}
	c.post(c.kid, map[string]any{"contact": []string{"mailto:admin@example.com"}}).want(http.StatusOK, "")
	gone.post(gone.kid, map[string]any{"status": "deactivated"}).want(http.StatusOK, "")

	var accounts []acmetest.Account
	for _, a := range kept {
		accounts = append(accounts, a)
	}
	var read []acmetest.Account
	if err := json.Unmarshal(marshal(t, accounts), &read); err != nil {
		t.Fatal(err)
	}
	second := acmetest.NewUnstartedServer()
	second.Root, second.Accounts = first.Root, read
	second.StartInMemory()
	defer second.Close()
	c.http, gone.http, c.nonce, gone.nonce = second.Client(), second.Client(), "", ""
	var a account
	c.post(c.kid, nil).want(http.StatusOK, "").decode(&a)
	if !slices.Equal(a.Contact, []string{"mailto:admin@example.com"}) {
		t.Errorf("account %+v after the restart", a)
	}
	url := c.kid
	c.register(map[string]any{"onlyReturnExisting": true}).want(http.StatusOK, "")
	if c.kid != url {
		t.Errorf("account URL %s after the restart, %s before", c.kid, url)
	}
	edited(gone, nil).want(http.StatusUnauthorized, "unauthorized")
	if string(first.RootPEM()) != string(second.RootPEM()) {
		t.Error("the second server has another root")
	}
}
