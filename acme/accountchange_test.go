package acme_test

import (
	"crypto"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
)

func TestUpdateContact(t *testing.T) {
	c := newCA(t)
	for _, contact := range [][]string{{"mailto:a@example.com"}, {"mailto:b@example.com", "mailto:c@example.com"}, nil} {
		updated, err := c.client.UpdateContact(t.Context(), contact)
		if err != nil || !slices.Equal(updated.Contact, contact) {
			t.Errorf("UpdateContact(%q): %+v, %v", contact, updated, err)
		}
		got, err := c.client.GetAccount(t.Context())
		if err != nil || !slices.Equal(got.Contact, contact) || got.URL == "" || got.URL != updated.URL {
			t.Errorf("GetAccount after UpdateContact(%q): %+v, %v", contact, got, err)
		}
	}
	if _, err := c.client.UpdateContact(t.Context(), []string{"nobody"}); err == nil {
		t.Error("a contact that is no URL was taken")
	}
}

func TestDeactivateAccount(t *testing.T) {
	c := newCA(t)
	if err := c.client.DeactivateAccount(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := c.client.NewOrder(t.Context(), acme.OrderRequest{Identifiers: identifiers(t, "example.com")})
	wantError(t, err, acme.ErrUnauthorized)
	_, err = c.withKey(c.client.Key.(*ecdsa.PrivateKey)).Register(t.Context(), acme.Registration{AgreeToTerms: true})
	wantError(t, err, nil, "register", "deactivated") // for good: the key can have no other account
}

// The change is signed twice: by the new key, which is in the header without a nonce, and around that by the
// old one, for the same URL (RFC 8555 §7.3.5).
func TestChangeKeyRequest(t *testing.T) {
	c := newCA(t)
	account := c.accountURL(t)
	key := newKey(t)
	if err := c.client.ChangeKey(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	outer := c.requests("keyChange")[0]
	if outer.protected["kid"] != account || outer.protected["jwk"] != nil || outer.protected["nonce"] == nil {
		t.Errorf("outer header %v", outer.protected)
	}
	r, err := http.NewRequest(http.MethodPost, outer.url, strings.NewReader(outer.payload))
	if err != nil {
		t.Fatal(err)
	}
	inner, err := newRequest(r)
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string]any{"alg": "ES256", "jwk": publicJWK(t, key), "url": outer.url}; !reflect.DeepEqual(inner.protected, want) {
		t.Errorf("inner header %v, want %v", inner.protected, want)
	}
	var change map[string]any
	if err := json.Unmarshal([]byte(inner.payload), &change); err != nil {
		t.Fatal(err)
	}
	if want := map[string]any{"account": account, "oldKey": publicJWK(t, c.client.Key)}; !reflect.DeepEqual(change, want) {
		t.Errorf("change %v, want %v", change, want)
	}
}

// publicJWK returns the public key as JSON has it.
func publicJWK(t *testing.T, key crypto.Signer) map[string]any {
	t.Helper()
	written, err := json.Marshal(jose.JSONWebKey{Key: key.Public()})
	if err != nil {
		t.Fatal(err)
	}
	var jwk map[string]any
	if err := json.Unmarshal(written, &jwk); err != nil {
		t.Fatal(err)
	}
	return jwk
}

// TestChangeKey changes the key with the answer arriving, and with it lost after the CA has acted.
func TestChangeKey(t *testing.T) {
	for _, lost := range []bool{false, true} {
		t.Run(fmt.Sprintf("lost=%t", lost), func(t *testing.T) {
			c := newCA(t)
			before, err := c.client.GetAccount(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			c.intercept = func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
				resp, err := next.RoundTrip(r)
				if lost && resourceOf(r) == "keyChange" {
					return nil, errors.New("the connection was cut")
				}
				return resp, err
			}
			key := newKey(t)
			if err := c.client.ChangeKey(t.Context(), key); err != nil {
				t.Fatal(err)
			}
			next := &acme.Client{DirectoryURL: c.URL, HTTPClient: c.client.HTTPClient, Key: key}
			after, err := next.FindAccount(t.Context())
			if err != nil || after.URL != before.URL {
				t.Errorf("the new key's account is %+v, %v; want %s", after, err, before.URL)
			}
			if _, err := c.client.GetAccount(t.Context()); err == nil {
				t.Error("the old key is good still")
			}
		})
	}
}

func TestChangeKeyRefuses(t *testing.T) {
	c := newCA(t)
	other := &acme.Client{DirectoryURL: c.URL, HTTPClient: c.client.HTTPClient, Key: newKey(t)}
	if _, err := other.Register(t.Context(), acme.Registration{AgreeToTerms: true}); err != nil {
		t.Fatal(err)
	}
	wantError(t, c.client.ChangeKey(t.Context(), other.Key), nil, "change key")
	wantError(t, c.client.ChangeKey(t.Context(), nil), nil, "acme: change key: the new key is nil")
	if _, err := c.client.GetAccount(t.Context()); err != nil {
		t.Errorf("after a change that was refused the old key is no good: %v", err)
	}
	bare := fake{"/directory": answer(200, bareDirectory)}.client(t)
	bare.AccountURL = fakeOrigin + "/account/1"
	wantError(t, bare.ChangeKey(t.Context(), newKey(t)), errors.ErrUnsupported, "keyChange")
}

// bareDirectory is that of a CA with nothing but what every CA has.
const bareDirectory = `{"newNonce":"/nonce","newAccount":"/account","newOrder":"/order"}`

func TestOrders(t *testing.T) {
	c := newUnregisteredCA(t, func(s *acmetest.Server) { s.OrdersPerPage = 2 })
	if _, err := c.client.Register(t.Context(), acme.Registration{AgreeToTerms: true}); err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for i := range 5 {
		order, err := c.client.NewOrder(t.Context(), acme.OrderRequest{Identifiers: identifiers(t, fmt.Sprintf("n%d.example.com", i))})
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, order.URL)
	}
	for url, err := range c.client.Orders(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, url)
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("orders %q, want %q", got, want)
	}
	for range c.client.Orders(t.Context()) {
		break
	}
}

// TestOrdersWithoutEnd has a CA whose pages lead back to the first, or ever on.
func TestOrdersWithoutEnd(t *testing.T) {
	for name, link := range map[string]func(page int) string{
		"a circle": func(int) string { return "/orders" },
		"ever on":  func(page int) string { return fmt.Sprintf("/orders/%d", page+1) },
	} {
		t.Run(name, func(t *testing.T) {
			pages := 0
			f := fake{"/account/1": answer(200, `{"status":"valid","orders":"/orders"}`)}
			page := func(w http.ResponseWriter, r *http.Request) {
				pages++
				answer(200, `{"orders":["/order/1"]}`, "Link", "<"+link(pages)+`>;rel="next"`)(w, r)
			}
			f["/orders"] = page
			for i := range 1100 {
				f[fmt.Sprintf("/orders/%d", i)] = page
			}
			client := f.client(t)
			client.AccountURL = fakeOrigin + "/account/1"
			var last error
			for _, err := range client.Orders(t.Context()) {
				last = err
			}
			wantError(t, last, nil, "no end")
			if pages > 1000 {
				t.Errorf("%d pages were fetched", pages)
			}
		})
	}
}

func TestOrdersUnsupported(t *testing.T) {
	client := fake{"/account/1": answer(200, `{"status":"valid"}`)}.client(t)
	client.AccountURL = fakeOrigin + "/account/1"
	for _, err := range client.Orders(t.Context()) {
		wantError(t, err, errors.ErrUnsupported)
	}
}

// TestOrdersAsABareArray reads the list as step-ca writes it.
func TestOrdersAsABareArray(t *testing.T) {
	client := fake{
		"/account/1": answer(http.StatusOK, `{"status":"valid","orders":"/orders"}`),
		"/orders":    answer(http.StatusOK, `["/order/1","`+fakeOrigin+`/order/2"]`),
	}.client(t)
	var got []string
	for url, err := range client.Orders(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, url)
	}
	if want := []string{fakeOrigin + "/order/1", fakeOrigin + "/order/2"}; !slices.Equal(got, want) {
		t.Errorf("orders %q, want %q", got, want)
	}
}
