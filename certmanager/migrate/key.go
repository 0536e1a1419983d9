package migrate

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"

	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/go-jose/go-jose/v4"
)

// parseJWK reads a private key as a JSON Web Key (RFC 7517).
func parseJWK(text []byte) (crypto.Signer, error) {
	if len(text) > record.MaxKey {
		return nil, record.ErrLongKey
	}
	var key jose.JSONWebKey
	if json.Unmarshal(text, &key) == nil && key.Valid() {
		switch private := key.Key.(type) {
		case *ecdsa.PrivateKey:
			if isWhole(private, &private.PublicKey) {
				return private, nil
			}
		case *rsa.PrivateKey:
			if private.Validate() == nil && isWhole(private, &private.PublicKey) {
				return private, nil
			}
		}
	}
	return nil, errors.New("the private key is not a JSON Web Key of RSA or ECDSA, or its parts do not belong together")
}

// isWhole reports whether the private key that would be stored has the public one.
func isWhole(private crypto.Signer, public interface{ Equal(crypto.PublicKey) bool }) bool {
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return false
	}
	stored, err := record.ParseKeyDER(der)
	return err == nil && public.Equal(stored.Public())
}
