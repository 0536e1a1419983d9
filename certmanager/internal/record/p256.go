package record

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"slices"
)

// The DER of a key for P-256 and its public key, PKCS #8 (RFC 5958) around RFC 5915, differs from one key to another in scalar
// and point alone. Most certificates have one, and package x509 takes as long for what is the same as it does for all else.
const (
	p256BeforeScalar = "\x30\x81\x87\x02\x01\x00\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x04\x6d\x30\x6b\x02\x01\x01\x04\x20"
	p256BeforePoint  = "\xa1\x44\x03\x42\x00"
)

// marshalKey returns the DER of the key's PKCS #8.
func marshalKey(key crypto.PrivateKey) ([]byte, error) {
	switch key := key.(type) {
	case *compactKey:
		if key.Public() == nil {
			return nil, errDamagedKey
		}
		return marshalP256(key.scalar[:], key.point[:]), nil
	case *ecdsa.PrivateKey:
		if key.Curve != elliptic.P256() {
			break
		}
		scalar, err := key.Bytes()
		if err != nil {
			return nil, err
		}
		point, err := key.PublicKey.Bytes()
		if err != nil {
			return nil, err
		}
		return marshalP256(scalar, point), nil
	}
	return x509.MarshalPKCS8PrivateKey(key)
}

func marshalP256(scalar, point []byte) []byte {
	return slices.Concat([]byte(p256BeforeScalar), scalar, []byte(p256BeforePoint), point)
}

// scalarP256 returns the scalar of the key whose DER has this form, or nil if it has another.
func scalarP256(der []byte) []byte {
	scalar, ok := bytes.CutPrefix(der, []byte(p256BeforeScalar))
	if !ok || len(scalar) != 32+len(p256BeforePoint)+65 || string(scalar[32:32+len(p256BeforePoint)]) != p256BeforePoint {
		return nil
	}
	return scalar[:32]
}

// parseP256 returns the key of DER in this form, or nil if it has another or is no key. The public key is reckoned, not read.
func parseP256(der []byte) *ecdsa.PrivateKey {
	scalar := scalarP256(der)
	if scalar == nil {
		return nil
	}
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar)
	if err != nil {
		return nil
	}
	return key
}

// parseCompactKey is parseP256 for the keys of certificates. Package ecdh reckons the public key as bytes: package ecdsa has it as
// two big numbers, which would be taken apart at once.
func parseCompactKey(der []byte) *compactKey {
	scalar := scalarP256(der)
	if scalar == nil {
		return nil
	}
	key, err := ecdh.P256().NewPrivateKey(scalar)
	if err != nil {
		return nil
	}
	return &compactKey{[32]byte(scalar), (*[65]byte)(key.PublicKey().Bytes())}
}
