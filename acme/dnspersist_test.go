package acme_test

import (
	"crypto"
	"crypto/rsa"
	"encoding/base64"
	"io"
	"math/big"
	"net/http"
	"strings"
	"testing"

	"github.com/everseal/everseal/acme"
)

// publicKey is the key of RFC 7638 §3.1, of which nobody knows the other half.
type publicKey struct{}

func (publicKey) Public() crypto.PublicKey {
	n, err := base64.RawURLEncoding.DecodeString("0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw")
	if err != nil {
		panic(err)
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: 65537}
}

func (publicKey) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	panic("nothing can be signed")
}

// persistent returns a client of a CA with the prefix for hashed accounts, and its authorization.
func persistent(t *testing.T, wildcard bool) (*acme.Client, *acme.Authorization) {
	t.Helper()
	client := fake{
		"/directory": answer(http.StatusOK, `{"newNonce":"/n","newAccount":"/a","newOrder":"/o","meta":{"accountHashPrefix":"`+fakeOrigin+`/account-hash/"}}`),
	}.client(t)
	client.Key, client.AccountURL = publicKey{}, fakeOrigin+"/acct/123"
	return client, &acme.Authorization{Identifier: acme.Identifier{Type: acme.TypeDNS, Value: "example.com"}, Wildcard: wildcard}
}

// The hash is that of the example in draft-ietf-acme-dns-persist-02 §10.2, whose CA is https://ca.example too.
func TestPersistentRecord(t *testing.T) {
	const account = fakeOrigin + "/acct/123"
	names := []string{"authority.example", "other.example"}
	for _, test := range []struct {
		about     string
		challenge acme.Challenge
		wildcard  bool
		want      string
	}{
		{"draft 00", acme.Challenge{Issuers: names}, false, "authority.example; accounturi=" + account},
		{"draft 01", acme.Challenge{Issuers: names, AccountURI: account}, false, "authority.example; accounturi=" + account},
		{"draft 01, wildcard", acme.Challenge{Issuers: names, AccountURI: account}, true, "authority.example; accounturi=" + account + "; policy=wildcard"},
		{"draft 02", acme.Challenge{HashedIssuers: names}, false,
			"authority.example; accounturi=" + fakeOrigin + "/account-hash/sha-256/5SQm7n6tPh2-PlLbCKGnViTXX5z19SCN4cPGQHSk-kw"},
		{"draft 02, wildcard", acme.Challenge{HashedIssuers: names, AccountURI: "https://other.example"}, true,
			"authority.example; accounturi=" + fakeOrigin + "/account-hash/sha-256/5SQm7n6tPh2-PlLbCKGnViTXX5z19SCN4cPGQHSk-kw; policy=wildcard"},
	} {
		t.Run(test.about, func(t *testing.T) {
			client, authorization := persistent(t, test.wildcard)
			test.challenge.Type = acme.TypeDNSPersist01
			proof, err := client.NewProof(t.Context(), authorization, test.challenge)
			if err != nil {
				t.Fatal(err)
			}
			name, value, err := proof.TXTRecord()
			if name != "_validation-persist.example.com" || value != test.want || err != nil {
				t.Errorf("record %q %q, %v, want %q", name, value, err, test.want)
			}
			anyDomain := ""
			if test.challenge.HashedIssuers != nil {
				// printf '\x01*%s%s' <thumbprint, RFC 7638 §3.1> https://ca.example/acct/123 | openssl dgst -sha256 -binary | basenc --base64url
				anyDomain = fakeOrigin + "/account-hash/sha-256/NpDnSwUthQK8zCgFdefYxAdAVPnygMLbs9US6oO-5ug"
			}
			if proof.AnyDomainAccountURI != anyDomain {
				t.Errorf("for any domain the account is %q, want %q", proof.AnyDomainAccountURI, anyDomain)
			}
		})
	}
}

func TestPersistentRecordIsRefused(t *testing.T) {
	many := make([]string, 11)
	for i := range many {
		many[i] = "authority.example"
	}
	for _, test := range []struct {
		about     string
		challenge acme.Challenge
		want      string
	}{
		{"no names", acme.Challenge{}, "0 names"},
		{"too many names", acme.Challenge{Issuers: many}, "11 names"},
		{"upper case", acme.Challenge{Issuers: []string{"Authority.example"}}, "A-labels"},
		{"final dot", acme.Challenge{HashedIssuers: []string{"authority.example."}}, "A-labels"},
		{"a record of its own in the name", acme.Challenge{Issuers: []string{"authority.example; policy=wildcard"}}, "A-labels"},
		{"a later name", acme.Challenge{Issuers: []string{"authority.example", "a\nb"}}, `a\nb`},
		{"another CA's account", acme.Challenge{Issuers: []string{"authority.example"}, AccountURI: "https://other.example/acct/666"}, "not at the host"},
		{"more than an account", acme.Challenge{Issuers: []string{"authority.example"}, AccountURI: fakeOrigin + "/acct/1; policy=wildcard"}, "cannot stand in a record"},
	} {
		t.Run(test.about, func(t *testing.T) {
			client, authorization := persistent(t, false)
			test.challenge.Type = acme.TypeDNSPersist01
			proof, err := client.NewProof(t.Context(), authorization, test.challenge)
			if err == nil {
				_, _, err = proof.TXTRecord()
			}
			wantError(t, err, nil, "acme: example.com: dns-persist-01: ", test.want)
		})
	}
}

func TestPersistentRecordNeedsThePrefix(t *testing.T) {
	client := fake{}.client(t)
	authorization := &acme.Authorization{Identifier: acme.Identifier{Type: acme.TypeDNS, Value: "example.com"}}
	_, err := client.NewProof(t.Context(), authorization, acme.Challenge{Type: acme.TypeDNSPersist01, HashedIssuers: []string{"authority.example"}})
	wantError(t, err, nil, "accountHashPrefix")
}

func TestNewProofChecksTokens(t *testing.T) {
	client := fake{}.client(t)
	authorization := &acme.Authorization{Identifier: acme.Identifier{Type: acme.TypeDNS, Value: "example.com"}, Wildcard: true}
	for _, test := range []struct{ challengeType, token, want string }{
		{acme.TypeDNS01, "", "no token"},
		{acme.TypeDNS01, "../../etc", "base64url"},
		{acme.TypeHTTP01, strings.Repeat("a", 600), "base64url"},
		{"other-01", "a b", "base64url"},
	} {
		_, err := client.NewProof(t.Context(), authorization, acme.Challenge{Type: test.challengeType, Token: test.token})
		wantError(t, err, nil, "*.example.com: "+test.challengeType, test.want)
	}
	proof, err := client.NewProof(t.Context(), authorization, acme.Challenge{Type: "other-01", Error: new(acme.Problem)})
	if err != nil || proof.KeyAuthorization != "" || proof.Error != nil || proof.AccountURL != fakeOrigin+"/account/1" {
		t.Errorf("proof %+v, %v", proof, err)
	}
}
