package migrate

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// parseKey returns the first private key in the PEM. Its errors do not show what it could not read.
func parseKey(text []byte) (crypto.Signer, error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		switch {
		case strings.HasPrefix(block.Type, "ENCRYPTED"), block.Headers["DEK-Info"] != "":
			return nil, errors.New("the private key is encrypted: decrypt it first")
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			return parseKeyDER(block.Bytes)
		}
	}
	return nil, errors.New("there is no private key in PEM where it is expected")
}

// maxKey bounds a private key, in bytes: what is longer takes long to check. One for RSA with 4096 bits has 2.4 KB, 3.2 KB as
// a JSON Web Key.
const maxKey = 16 << 10

// parseKeyDER reads a private key of any of the three forms.
func parseKeyDER(der []byte) (crypto.Signer, error) {
	if len(der) > maxKey {
		return nil, errLongKey
	}
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		if signer, ok := key.(crypto.Signer); ok {
			return signer, nil
		}
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, nil
	}
	return nil, errors.New("the private key is not PKCS #8, PKCS #1 or SEC 1, or can't sign")
}

var errLongKey = fmt.Errorf("the private key is longer than %d bytes", maxKey)

// parseJWK reads a private key as a JSON Web Key (RFC 7517).
func parseJWK(text []byte) (crypto.Signer, error) {
	if len(text) > maxKey {
		return nil, errLongKey
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
