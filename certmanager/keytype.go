package certmanager

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"slices"

	"github.com/everseal/everseal/certmanager/internal/record"
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

// keyTypeOf returns the type of a key, given the public one; empty: it is none that is supported.
func keyTypeOf(public crypto.PublicKey) KeyType {
	if t := KeyType(record.KeyTypeOf(public)); t.check() == nil {
		return t
	}
	return ""
}

// isSlow reports whether making a key of the type takes long.
func (t KeyType) isSlow() bool { return t == RSA2048 || t == RSA3072 || t == RSA4096 }

// generate makes a new key. Making one for RSA takes a processor for up to seconds: no more are made at once than leave
// handshakes alone, and others wait until ctx ends.
func (k *keyring) generate(ctx context.Context, t KeyType) (crypto.Signer, error) {
	switch t {
	case ECDSAP256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case ECDSAP384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case RSA2048:
		return k.generateRSA(ctx, 2048)
	case RSA3072:
		return k.generateRSA(ctx, 3072)
	case RSA4096:
		return k.generateRSA(ctx, 4096)
	}
	return nil, t.check()
}

func (k *keyring) generateRSA(ctx context.Context, bits int) (crypto.Signer, error) {
	select {
	case k.making <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for other RSA keys to be made: %w", ctx.Err())
	}
	defer func() { <-k.making }()
	return rsa.GenerateKey(rand.Reader, bits)
}
