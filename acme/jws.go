package acme

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/cryptosigner"
)

var errNoKey = errors.New("acme: Client.Key is nil: an account needs a key")

// signature is what a signed request says besides its payload (RFC 8555 §6.2).
type signature struct {
	key   crypto.Signer
	url   string
	nonce string // none for inner signatures
	kid   string // empty: the key itself is embedded
}

// sign returns payload as a flattened JSON Web Signature (RFC 7515 §7.2.2).
func (s signature) sign(payload []byte) ([]byte, error) {
	algorithm, err := signatureAlgorithm(s.key)
	if err != nil {
		return nil, err
	}
	options := (&jose.SignerOptions{EmbedJWK: s.kid == ""}).WithHeader("url", s.url)
	if s.nonce != "" {
		options.WithHeader("nonce", s.nonce)
	}
	if s.kid != "" {
		options.WithHeader("kid", s.kid)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: cryptosigner.Opaque(s.key)}, options)
	if err != nil {
		return nil, actionError("sign", err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return nil, actionError("sign", err)
	}
	return []byte(signed.FullSerialize()), nil
}

// signatureAlgorithm returns the algorithm that CAs expect of the kind of key (RFC 7518 §3.1).
func signatureAlgorithm(key crypto.Signer) (jose.SignatureAlgorithm, error) {
	if key == nil {
		return "", errNoKey
	}
	switch public := key.Public().(type) {
	case *rsa.PublicKey:
		return jose.RS256, nil
	case ed25519.PublicKey:
		return jose.EdDSA, nil
	case *ecdsa.PublicKey:
		switch public.Curve {
		case elliptic.P256():
			return jose.ES256, nil
		case elliptic.P384():
			return jose.ES384, nil
		case elliptic.P521():
			return jose.ES512, nil
		}
		return "", fmt.Errorf("acme: the account key's curve %s is not supported: use P-256 or P-384", public.Curve.Params().Name)
	default:
		return "", fmt.Errorf("acme: an account key of type %T is not supported: use ECDSA or RSA", public)
	}
}

// externalAccountBinding returns the proof that whoever holds the CA's MAC key wants the account's
// key bound to it (RFC 8555 §7.3.4). Register has checked e.
func externalAccountBinding(e *ExternalAccount, key crypto.Signer, url string) (json.RawMessage, error) {
	if _, err := signatureAlgorithm(key); err != nil {
		return nil, err
	}
	public, err := json.Marshal(jose.JSONWebKey{Key: key.Public()})
	if err != nil {
		return nil, fmt.Errorf("acme: external account %q: %w", e.KeyID, err)
	}
	options := (&jose.SignerOptions{}).WithHeader("kid", e.KeyID).WithHeader("url", url)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(e.algorithm()), Key: e.MACKey}, options)
	if err != nil {
		return nil, fmt.Errorf("acme: external account %q: %w", e.KeyID, err)
	}
	signed, err := signer.Sign(public)
	if err != nil {
		return nil, fmt.Errorf("acme: external account %q: %w", e.KeyID, err)
	}
	return json.RawMessage(signed.FullSerialize()), nil
}
