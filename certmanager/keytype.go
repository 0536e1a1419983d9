package certmanager

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"slices"
)

// A KeyType is a kind of private key for certificates.
type KeyType string

// The kinds of key that public CAs sign.
const (
	ECDSAP256 KeyType = "ecdsa-p256" // the default: small, fast, understood by all current clients
	ECDSAP384 KeyType = "ecdsa-p384"
	RSA2048   KeyType = "rsa-2048"
	RSA3072   KeyType = "rsa-3072"
	RSA4096   KeyType = "rsa-4096"
)

// defaultKeyTypes are those of Config.KeyTypes if there are none.
func defaultKeyTypes() []KeyType { return []KeyType{ECDSAP256} }

// checkKeyTypes reports what is wrong with the kinds of key of one subject.
func checkKeyTypes(types []KeyType) error {
	for i, t := range types {
		if err := t.check(); err != nil {
			return err
		}
		if slices.Contains(types[:i], t) {
			return fmt.Errorf("%s is named twice", t)
		}
	}
	return nil
}

func (t KeyType) check() error {
	switch t {
	case ECDSAP256, ECDSAP384, RSA2048, RSA3072, RSA4096:
		return nil
	}
	return fmt.Errorf("the key type %q is not supported: use %s, %s, %s, %s or %s",
		string(t), ECDSAP256, ECDSAP384, RSA2048, RSA3072, RSA4096)
}

// generate makes a new key.
func (t KeyType) generate() (crypto.Signer, error) {
	switch t {
	case ECDSAP256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case ECDSAP384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case RSA2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	case RSA3072:
		return rsa.GenerateKey(rand.Reader, 3072)
	case RSA4096:
		return rsa.GenerateKey(rand.Reader, 4096)
	}
	return nil, t.check()
}
