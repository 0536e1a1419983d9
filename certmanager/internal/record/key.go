package record

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// A Key is a private key: one that is kept in the record, or one that a key management service keeps, which the record
// refers to. It is not shown when it is printed, logged or marshalled.
type Key struct {
	// Signer is the key. It is nil in what was read of a record that has a Reference alone: whoever knows the
	// service sets it.
	crypto.Signer
	// Reference says where the key is kept, in the words of whoever keeps it; empty: in the record. It is stored as it
	// is: no password belongs in it.
	Reference string
}

// IsZero reports whether there is no key.
func (k Key) IsZero() bool { return k.Signer == nil && k.Reference == "" }

// Equal reports whether both are the same key: kept at the same place, or with the same public key.
func (k Key) Equal(other Key) bool {
	if k.Reference != "" || other.Reference != "" {
		return k.Reference == other.Reference
	}
	return other.Signer != nil && belongs(k.Signer, other.Public())
}

// belongs reports whether the public key is that of the signer, which may be nil.
func belongs(signer crypto.Signer, public crypto.PublicKey) bool {
	if signer == nil {
		return false
	}
	own, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && own.Equal(public)
}

// String returns what stands for the key where it is shown.
func (k Key) String() string {
	switch {
	case k.Reference != "":
		return "(a private key that is kept elsewhere)"
	case k.Signer != nil:
		return "(a private key)"
	}
	return "(no private key)"
}

// Format writes what String returns, whatever the verb.
func (k Key) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, k.String()) // what it returns, fmt notices itself
}

// LogValue returns what String returns.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalText returns what String returns.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// A storedKey is a Key in a record of JSON. It has at most one of the two.
type storedKey struct {
	PEM       string `json:"key,omitempty"` // PKCS #8
	Reference string `json:"keyReference,omitempty"`
}

// store returns the key as a record of JSON has it.
func (k Key) store() (storedKey, error) {
	if k.Reference != "" || k.Signer == nil {
		return storedKey{Reference: k.Reference}, nil
	}
	text, err := EncodeKey(k.Signer)
	return storedKey{PEM: string(text)}, err
}

func (s storedKey) load() (Key, error) {
	switch {
	case s.PEM == "":
		return Key{Reference: s.Reference}, nil
	case s.Reference != "":
		return Key{}, errors.New("it has both a private key and a reference to one")
	}
	key, rest, err := decodeKey([]byte(s.PEM))
	if err == nil && len(rest) > 0 {
		return Key{}, errors.New("it has more than a private key where that is expected")
	}
	return Key{Signer: key}, err
}

const (
	pemKey         = "PRIVATE KEY"
	pemCertificate = "CERTIFICATE"
)

// MaxKey bounds the DER of a private key, in bytes: what is longer takes long to check. One for RSA with 4096 bits has 2.4 KB,
// 3.2 KB as a JSON Web Key.
const MaxKey = 16 << 10

// KeyTypeOf returns how the certificates' records call the kind of a key, given the public one; empty: it is neither for ECDSA nor RSA.
func KeyTypeOf(public crypto.PublicKey) string {
	switch public := public.(type) {
	case *ecdsa.PublicKey:
		return fmt.Sprintf("ecdsa-p%d", public.Curve.Params().BitSize)
	case *rsa.PublicKey:
		return fmt.Sprintf("rsa-%d", public.N.BitLen())
	}
	return ""
}

// EncodeKey returns a key that Decode gave, or another one that can be read, as PKCS #8 in PEM.
func EncodeKey(key crypto.PrivateKey) ([]byte, error) {
	der, err := marshalKey(key)
	if err != nil {
		return nil, fmt.Errorf("a private key of type %T can't be stored; a reference to it can: %w", key, err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: der}), nil
}

// decodeKey reads the private key that the text begins with, and returns the text behind it. Its errors do not show
// what it could not read.
func decodeKey(text []byte) (key crypto.Signer, rest []byte, err error) {
	der, rest, err := decodeKeyBlock(text)
	if err != nil {
		return nil, nil, err
	}
	key, err = parseKeyDER(der)
	return key, rest, err
}

// decodeKeyBlock returns the DER of the private key that the text begins with, and the text behind it.
func decodeKeyBlock(text []byte) (der, rest []byte, err error) {
	label, content, rest, err := nextBlock(text)
	if err != nil {
		return nil, nil, fmt.Errorf("its private key: %w", err)
	}
	if !bytes.Equal(label, []byte(pemKey)) {
		return nil, nil, errors.New("there is no private key in PEM where it is expected")
	}
	if der, err = decodeBase64(content); err != nil || len(der) > MaxKey {
		return nil, nil, errors.New("its private key is not base64, or too long")
	}
	return der, rest, nil
}

func parseKeyDER(der []byte) (crypto.Signer, error) {
	if key := parseP256(der); key != nil {
		return key, nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("its private key is not PKCS #8")
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, errors.New("its private key can't sign")
	}
	return key, nil
}

// decodeCertificateKey is decodeKey for the key of a certificate: there are many of them.
func decodeCertificateKey(text []byte) (key crypto.Signer, rest []byte, err error) {
	der, rest, err := decodeKeyBlock(text)
	if err != nil {
		return nil, nil, err
	}
	if key := parseCompactKey(der); key != nil {
		return key, rest, nil
	}
	key, err = parseKeyDER(der)
	return key, rest, err
}
