package acmetest

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/json"
	"hash"
)

// checkExternalAccount checks the binding of a new account to one known elsewhere (RFC 8555 §7.3.4).
func (s *Server) checkExternalAccount(binding json.RawMessage, outer *signedRequest) error {
	if binding == nil {
		if s.ExternalAccounts != nil {
			return problemf(externalAccountRequired, "a new account needs an external account binding")
		}
		return nil
	}
	inner, err := parseInnerJWS("externalAccountBinding", binding)
	if err != nil {
		return err
	}
	newHash := macHash(inner.header.Algorithm)
	switch header := &inner.header; {
	case newHash == nil:
		return problemf(badSignatureAlgorithm, "the external account binding is signed with %s; it must be HS256, HS384 or HS512", quote(header.Algorithm))
	case header.Nonce != nil:
		return problemf(malformed, "the external account binding must not have a nonce")
	case header.JWK != nil || header.KeyID == nil:
		return problemf(malformed, "the external account binding must have \"kid\" and no \"jwk\"")
	case header.URL == nil || *header.URL != outer.url:
		return problemf(malformed, "the external account binding's url is not %s", quote(outer.url))
	}
	key, ok := s.ExternalAccounts[*inner.header.KeyID]
	if !ok {
		return problemf(unauthorized, "there is no external account with the key identifier %s", quote(*inner.header.KeyID))
	}
	mac := hmac.New(newHash, key)
	mac.Write([]byte(inner.protected + "." + inner.payload))
	signature, err := decodeBase64URL("signature", inner.signature)
	if err != nil {
		return err
	}
	if !hmac.Equal(mac.Sum(nil), signature) {
		return problemf(unauthorized, "the external account binding's MAC does not verify with the key of %s", quote(*inner.header.KeyID))
	}
	return checkBoundKey(inner.decoded, outer)
}

// checkBoundKey checks that the binding is to the key which signed the request.
func checkBoundKey(jwk []byte, outer *signedRequest) error {
	got, err := thumbprintOf(jwk)
	if err != nil {
		return problemf(malformed, "the external account binding's payload is not a JWK that an account may have")
	}
	want, err := thumbprint(outer.key)
	if err != nil {
		return err
	}
	if got != want {
		return problemf(malformed, "the external account binding is for another key than the one that signed the request")
	}
	return nil
}

// macHash returns the hash of a MAC algorithm of JOSE, nil if there is none of that name.
func macHash(algorithm string) func() hash.Hash {
	switch algorithm {
	case "HS256":
		return sha256.New
	case "HS384":
		return sha512.New384
	case "HS512":
		return sha512.New
	}
	return nil
}
