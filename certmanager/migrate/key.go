package migrate

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
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
			return private, nil
		case *rsa.PrivateKey:
			if private.Validate() == nil {
				return private, nil
			}
		}
	}
	return nil, errors.New("the private key is not a JSON Web Key of RSA or ECDSA")
}
