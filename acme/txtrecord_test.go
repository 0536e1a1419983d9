package acme_test

import (
	"testing"

	"github.com/everseal/everseal/acme"
)

// The values were computed with the openssl and base32 programs:
//
//	printf %s KEYAUTH | openssl dgst -sha256 -binary | base64 | tr +/ -_ | tr -d =
//	printf %s ACCOUNT | openssl dgst -sha256 -binary | head -c 10 | base32 | tr A-Z a-z
func TestTXTRecord(t *testing.T) {
	proof := acme.Proof{
		Challenge:        acme.Challenge{Type: acme.TypeDNS01, Token: "token"},
		Identifier:       acme.Identifier{Type: acme.TypeDNS, Value: "example.org"},
		KeyAuthorization: "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0.9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI",
		AccountURL:       "https://example.com/acme/acct/ExampleAccount",
	}
	const value = "LPsIwTo7o8BoG0-vjCyGQGBWSVIPxI-i_X336eUOQZo"
	for _, test := range []struct{ kind, name string }{
		{acme.TypeDNS01, "_acme-challenge.example.org"},
		{acme.TypeDNSAccount01, "_ujmmovf2vn55tgye._acme-challenge.example.org"},
	} {
		proof.Type = test.kind
		if name, got, err := proof.TXTRecord(); name != test.name || got != value || err != nil {
			t.Errorf("%s: %s %q, %v; want %s %q", test.kind, name, got, err, test.name, value)
		}
	}
	address := proof
	address.Identifier = acme.Identifier{Type: acme.TypeIP, Value: "192.0.2.1"}
	other := proof
	other.Type = acme.TypeHTTP01
	tokenless := proof
	tokenless.KeyAuthorization = ""
	for _, p := range []acme.Proof{address, other, tokenless} {
		if name, value, err := p.TXTRecord(); err == nil {
			t.Errorf("%+v gives %s %q", p, name, value)
		}
	}
}
