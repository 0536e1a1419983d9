package acme_test

import (
	"bytes"
	"cmp"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
)

func TestRegister(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kept []acmetest.Account
		c := newUnregisteredCA(t, func(s *acmetest.Server) {
			s.OnAccount = func(a acmetest.Account) { kept = append(kept, a) }
		})
		contact := []string{"mailto:admin@example.com"}
		account, err := c.client.Register(t.Context(), acme.Registration{Contact: contact, AgreeToTerms: true})
		if err != nil {
			t.Fatal(err)
		}
		if account.URL == "" || account.Status != acme.StatusValid || !slices.Equal(account.Contact, contact) {
			t.Errorf("account %+v", account)
		}
		if len(kept) != 1 || !strings.HasSuffix(account.URL, kept[0].ID) {
			t.Errorf("the CA made %d accounts", len(kept))
		}
		again, err := c.client.Register(t.Context(), acme.Registration{AgreeToTerms: true})
		if err != nil || again.URL != account.URL || len(kept) != 1 {
			t.Errorf("registered again: %+v, error %v, %d accounts", again, err, len(kept))
		}
		other := &acme.Client{DirectoryURL: c.URL, HTTPClient: c.client.HTTPClient, Key: c.client.Key}
		found, err := other.FindAccount(t.Context())
		if err != nil || found.URL != account.URL {
			t.Errorf("found %+v, error %v", found, err)
		}
	})
}

func TestAccountIsFoundByItsKeyOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		client := &acme.Client{DirectoryURL: c.URL, HTTPClient: c.client.HTTPClient, Key: c.client.Key}
		for range 3 {
			if _, err := client.NewOrder(t.Context(), acme.OrderRequest{Identifiers: identifiers(t, "example.com")}); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(c.requests("newAccount")); n != 1 || c.requests("newAccount")[0].payload != `{"onlyReturnExisting":true}` {
			t.Errorf("looked up %d times", n)
		}
		c.forget()
		known := &acme.Client{DirectoryURL: c.URL, HTTPClient: c.client.HTTPClient, Key: c.client.Key, AccountURL: c.accountURL(t)}
		if _, err := known.NewOrder(t.Context(), acme.OrderRequest{Identifiers: identifiers(t, "example.com")}); err != nil {
			t.Fatal(err)
		}
		if n := len(c.requests("newAccount")); n != 0 {
			t.Errorf("an account whose URL was given was looked up %d times", n)
		}
	})
}

// accountURL returns the account's URL without a request that is kept.
func (c *ca) accountURL(t *testing.T) string {
	t.Helper()
	account, err := c.client.FindAccount(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.forget()
	return account.URL
}

func TestAccountThatDoesNotExist(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newUnregisteredCA(t, func(*acmetest.Server) {})
		_, err := c.client.FindAccount(t.Context())
		wantError(t, err, acme.ErrAccountDoesNotExist)
		_, err = c.client.NewOrder(t.Context(), acme.OrderRequest{Identifiers: identifiers(t, "example.com")})
		wantError(t, err, acme.ErrAccountDoesNotExist, "call Register first", c.URL)

		c.client = &acme.Client{DirectoryURL: c.URL, HTTPClient: c.client.HTTPClient, Key: c.client.Key, AccountURL: strings.Replace(c.URL, "directory", "account/unknown", 1)}
		_, err = c.issue(t, t.Context(), acme.Request{})
		wantError(t, err, acme.ErrAccountDoesNotExist)
	})
}

func TestTermsMustBeAgreedTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newUnregisteredCA(t, func(*acmetest.Server) {})
		_, err := c.client.Register(t.Context(), acme.Registration{})
		var terms *acme.TermsError
		if !errors.As(err, &terms) || !strings.HasSuffix(terms.URL, "/terms") {
			t.Errorf("error %v, want a TermsError that names the terms", err)
		}
		wantError(t, err, nil, "/terms", "AgreeToTerms")
		if n := len(c.requests("newAccount")); n != 0 {
			t.Error("the CA was asked all the same")
		}
	})
	// A CA that says nothing of terms in its directory may ask for agreement all the same.
	f := fake{"/newAccount": answer(http.StatusForbidden, `{"type":"urn:ietf:params:acme:error:userActionRequired","detail":"read the terms","instance":"https://ca.example/terms"}`)}
	_, err := f.client(t).Register(t.Context(), acme.Registration{})
	wantError(t, err, acme.ErrUserActionRequired, "read the terms")
	// So may one whose terms have changed, at any request (RFC 8555 §7.3.3).
	f = fake{"/newOrder": f["/newAccount"]}
	_, err = f.client(t).NewOrder(t.Context(), acme.OrderRequest{Identifiers: identifiers(t, "example.com")})
	var changed *acme.Problem
	if !errors.As(err, &changed) || changed.Type != acme.ErrUserActionRequired || changed.Instance != "https://ca.example/terms" {
		t.Errorf("error %v, want one whose Instance leads to the terms", err)
	}
	text := (&acme.TermsError{URL: "https://ca.example/\x1b[31m" + strings.Repeat("x", 1<<20)}).Error()
	wantPrintable(t, text)
}

func TestExternalAccount(t *testing.T) {
	key := bytes.Repeat([]byte{7}, 64)
	for _, test := range []struct {
		name     string
		external *acme.ExternalAccount
		target   error
		says     string // empty: it is good
	}{
		{"HS256 by default", &acme.ExternalAccount{KeyID: "kid", MACKey: key}, nil, ""},
		{"HS256", &acme.ExternalAccount{KeyID: "kid", MACKey: key, Algorithm: "HS256"}, nil, ""},
		{"HS384", &acme.ExternalAccount{KeyID: "kid", MACKey: key, Algorithm: "HS384"}, nil, ""},
		{"HS512", &acme.ExternalAccount{KeyID: "kid", MACKey: key, Algorithm: "HS512"}, nil, ""},
		{"none", nil, nil, "set ExternalAccount"},
		{"another key", &acme.ExternalAccount{KeyID: "kid", MACKey: bytes.Repeat([]byte{8}, 64)}, acme.ErrUnauthorized, "kid"},
		{"unknown", &acme.ExternalAccount{KeyID: "other", MACKey: key}, acme.ErrUnauthorized, "other"},
		{"a pasted line end", &acme.ExternalAccount{KeyID: "kid\n", MACKey: key}, nil, `"kid\n"`},
		{"a leading space", &acme.ExternalAccount{KeyID: " kid", MACKey: key}, nil, `holds ' '`},
		{"a tab within", &acme.ExternalAccount{KeyID: "k\tid", MACKey: key}, nil, `holds '\t'`},
		{"a control character", &acme.ExternalAccount{KeyID: "k\x1bid", MACKey: key}, nil, `holds '\x1b'`},
		{"a byte-order mark", &acme.ExternalAccount{KeyID: "\ufeffkid", MACKey: key}, nil, `holds '\ufeff'`},
		{"not UTF-8", &acme.ExternalAccount{KeyID: "kid\xff", MACKey: key}, nil, `"kid\xff"`},
		{"without identifier", &acme.ExternalAccount{MACKey: key}, nil, "key identifier"},
		{"without key", &acme.ExternalAccount{KeyID: "kid"}, nil, "MAC key"},
		{"short key", &acme.ExternalAccount{KeyID: "kid", MACKey: key[:8]}, nil, `external account "kid": the MAC key has 8 bytes, HS256 needs 32`},
		{"key of the half length", &acme.ExternalAccount{KeyID: "kid", MACKey: key[:31]}, nil, "has 31 bytes, HS256 needs 32"},
		{"key too short for HS384", &acme.ExternalAccount{KeyID: "kid", MACKey: key[:32], Algorithm: "HS384"}, nil, "has 32 bytes, HS384 needs 48"},
		{"key too short for HS512", &acme.ExternalAccount{KeyID: "kid", MACKey: key[:63], Algorithm: "HS512"}, nil, "has 63 bytes, HS512 needs 64"},
		{"RS256", &acme.ExternalAccount{KeyID: "kid", MACKey: key, Algorithm: "RS256"}, nil, "RS256"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newUnregisteredCA(t, func(s *acmetest.Server) {
					s.ExternalAccounts = map[string][]byte{"kid": key}
				})
				account, err := c.client.Register(t.Context(), acme.Registration{AgreeToTerms: true, ExternalAccount: test.external})
				if test.says == "" {
					if err != nil || account.URL == "" {
						t.Fatalf("error %v", err)
					}
					c.wantBinding(t, cmp.Or(test.external.Algorithm, "HS256"))
					return
				}
				wantError(t, err, test.target, test.says)
				if strings.Contains(err.Error(), base64.RawURLEncoding.EncodeToString(key)[:16]) {
					t.Error("the error shows the key")
				}
			})
		})
	}
}

// wantBinding checks the external account binding that was sent last: its header has the algorithm, the key's
// identifier, the URL of the request that it is in and nothing else, and its payload is the account's key
// (RFC 8555 §7.3.4).
func (c *ca) wantBinding(t *testing.T, algorithm string) {
	t.Helper()
	requests := c.requests("newAccount")
	sent := requests[len(requests)-1]
	var payload struct {
		ExternalAccountBinding struct{ Protected, Payload string }
	}
	if err := json.Unmarshal([]byte(sent.payload), &payload); err != nil {
		t.Fatal(err)
	}
	var header, key map[string]any
	for part, v := range map[string]*map[string]any{payload.ExternalAccountBinding.Protected: &header, payload.ExternalAccountBinding.Payload: &key} {
		decoded, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(decoded, v); err != nil {
			t.Fatal(err)
		}
	}
	if want := map[string]any{"alg": algorithm, "kid": "kid", "url": sent.url}; !reflect.DeepEqual(header, want) {
		t.Errorf("bound with the header %v, want %v", header, want)
	}
	if !reflect.DeepEqual(key, sent.protected["jwk"]) {
		t.Errorf("the key %v is bound, want %v", key, sent.protected["jwk"])
	}
}

func TestExternalAccountNeedsAUsableKey(t *testing.T) {
	external := &acme.ExternalAccount{KeyID: "kid", MACKey: bytes.Repeat([]byte{7}, 32)}
	client := fake{}.client(t)
	client.Key = nil
	_, err := client.Register(t.Context(), acme.Registration{ExternalAccount: external})
	wantError(t, err, nil, "Client.Key is nil")
	client = fake{}.client(t)
	client.Key = newCurveKey(t, elliptic.P224())
	_, err = client.Register(t.Context(), acme.Registration{ExternalAccount: external})
	wantError(t, err, nil, "P-224", "P-256")
}

// What cannot be bound is refused before any call.
func TestExternalAccountIsCheckedFirst(t *testing.T) {
	key := bytes.Repeat([]byte{7}, 64)
	for _, external := range []acme.ExternalAccount{
		{},
		{MACKey: key},
		{KeyID: "kid"},
		{KeyID: "kid", MACKey: key[:8]},
		{KeyID: "kid", MACKey: key, Algorithm: "ES256"},
		{KeyID: "kid\r\n", MACKey: key},
		{KeyID: strings.Repeat("\x1b", 1<<20), MACKey: key, Algorithm: "HS256"},
		{KeyID: "kid", MACKey: key, Algorithm: strings.Repeat("\x1b", 1<<20)},
	} {
		s := newStage(t)
		client := s.client()
		_, err := client.Register(t.Context(), acme.Registration{AgreeToTerms: true, ExternalAccount: &external})
		wantError(t, err, nil, "acme: external account")
		wantPrintable(t, err.Error())
		if len(s.asked) > 0 {
			t.Errorf("%v: %d requests were made", err, len(s.asked))
		}
	}
}

func TestExternalAccountIsNotShown(t *testing.T) {
	secret := []byte("a secret that nobody may ever see")
	external := acme.ExternalAccount{KeyID: "kid-1", MACKey: secret}
	registration := acme.Registration{ExternalAccount: &external}
	var text strings.Builder
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		fmt.Fprintf(&text, format, external)
		fmt.Fprintf(&text, format, &external)
		fmt.Fprintf(&text, format, registration)
	}
	slog.New(slog.NewJSONHandler(&text, nil)).Info("json", "external", external, "pointer", &external, "registration", registration)
	slog.New(slog.NewTextHandler(&text, nil)).Info("text", "external", external, "pointer", &external, "registration", registration)
	if written, err := json.Marshal(registration); err == nil {
		text.Write(written)
	}
	for name, form := range map[string]string{
		"itself": string(secret), "in base64": base64.StdEncoding.EncodeToString(secret),
		"in hex": fmt.Sprintf("%x", secret), "in decimal": strings.Trim(fmt.Sprint(secret), "[]"), "as Go": strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", secret), "[]byte{"), "}"),
	} {
		if strings.Contains(text.String(), form) {
			t.Errorf("the MAC key is shown %s", name)
		}
	}
	if !strings.Contains(text.String(), "kid-1") {
		t.Error("the key identifier is not shown")
	}
}

func TestParseMACKey(t *testing.T) {
	want := []byte{0xfb, 0xff, 0xfe, 0x00}
	for _, s := range []string{"-__-AA", "-__-AA==", "+//+AA", "+//+AA==", " -__-AA==\n", "-_/+AA="} {
		if got, err := acme.ParseMACKey(s); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%q is %x, error %v", s, got, err)
		}
	}
	for _, s := range []string{"", "=", "  ", "a", "not base64!", "c2VjcmV0 c2VjcmV0", "sécret"} {
		key, err := acme.ParseMACKey(s)
		if err == nil || key != nil {
			t.Errorf("%q is taken for %x", s, key)
			continue
		}
		if len(s) > 4 && strings.Contains(err.Error(), s) {
			t.Errorf("the error %q shows the key", err)
		}
	}
}

func TestAccountAnswersThatErr(t *testing.T) {
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		says    string
	}{
		"no Location":   {answer(201, `{"status":"valid"}`), "Location"},
		"deactivated":   {answer(200, `{"status":"deactivated"}`, "Location", "/account/1"), "deactivated"},
		"revoked":       {answer(200, `{"status":"revoked"}`, "Location", "/account/1"), "revoked"},
		"odd status":    {answer(200, `{"status":"\u001b[31m"}`, "Location", "/account/1"), `\x1b`},
		"another 2xx":   {answer(204, ``, "Location", "/account/1"), "204"},
		"HTML":          {answer(200, `<html>`, "Location", "/account/1", "Content-Type", "text/html"), "text/html"},
		"wrong type":    {answer(200, `{"status":1}`, "Location", "/account/1"), "JSON"},
		"bad Location":  {answer(200, `{"status":"valid"}`, "Location", "https://\u202e:x/"), "malformed"},
		"not found":     {answer(404, `gone`), "404"},
		"moved":         {answer(301, ``, "Location", "/account/1"), "301"},
		"no new ones":   {answer(403, problem("externalAccountRequired", "bind it")), "bind it"},
		"too many made": {answer(429, problem("rateLimited", "too many registrations"), "Retry-After", "10800"), "3h"},
	} {
		f := fake{"/newAccount": test.handler}
		account, err := f.client(t).Register(t.Context(), acme.Registration{})
		if account != nil || err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: account %v, error %v, want one that says %q", name, account, err, test.says)
			continue
		}
		wantPrintable(t, err.Error())
	}
}

// One client serves many goroutines, from its very first use.
func TestClientIsSafeForConcurrentUse(t *testing.T) {
	web := newSolver(acme.TypeHTTP01, nil)
	server := acmetest.NewUnstartedServer()
	server.Dial = web.dial
	server.Start()
	defer server.Close()
	server.SetHost("*", "192.0.2.1")
	client := &acme.Client{DirectoryURL: server.URL, HTTPClient: server.Client(), Key: newKey(t)}
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			if _, err := client.Register(t.Context(), acme.Registration{AgreeToTerms: true}); err != nil {
				t.Error(err)
				return
			}
			_, err := client.Issue(t.Context(), acme.Request{
				Identifiers: identifiers(t, fmt.Sprintf("n%d.example.com", i), "example.com"),
				Key:         newKey(t),
				Solvers:     []acme.Solver{web},
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if n := len(server.Certificates()); n != 20 {
		t.Errorf("%d certificates, want 20", n)
	}
}
