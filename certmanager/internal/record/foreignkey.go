package record

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// ErrLongKey is for what is longer than MaxKey.
var ErrLongKey = fmt.Errorf("the private key is longer than %d bytes", MaxKey)

// ParseKeyPEM returns the first private key in a text that another program has written. Its errors do not show what it could not
// read.
func ParseKeyPEM(text []byte) (crypto.Signer, error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		switch {
		case strings.HasPrefix(block.Type, "ENCRYPTED"), block.Headers["DEK-Info"] != "":
			return nil, errors.New("the private key is encrypted: decrypt it first")
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			return ParseKeyDER(block.Bytes)
		}
	}
	return nil, errors.New("there is no private key in PEM where it is expected")
}

// ParseKeyDER returns a private key in any of the three forms that programs write.
func ParseKeyDER(der []byte) (crypto.Signer, error) {
	if len(der) > MaxKey {
		return nil, ErrLongKey
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
