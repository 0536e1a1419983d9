package record

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
)

// A compactKey is the private key of a certificate for P-256 in 48 bytes of memory. An [ecdsa.PrivateKey] takes 336,
// and package ecdsa keeps 343 more of each that has signed. The other form is built for each signature anew, in 2 µs
// or 5 % of what one takes.
type compactKey struct {
	scalar [32]byte
	point  *[65]byte // the public key, uncompressed: a part of the leaf's DER, which is kept anyway
}

var errDamagedKey = errors.New("the certificate's public key was changed in memory")

// compact returns the key as a compactKey where it can be one, and whether it is known to be that of the leaf, which is given
// as DER and parsed.
func compact(key crypto.Signer, der []byte, leaf *x509.Certificate) (signer crypto.Signer, same bool) {
	point := pointIn(der, leaf)
	if point == nil {
		return key, false
	}
	switch key := key.(type) {
	case *compactKey:
		if *key.point == *point {
			return &compactKey{key.scalar, point}, true // a new one: the key may be at work for another certificate
		}
	case *ecdsa.PrivateKey:
		if key.Curve == elliptic.P256() && isPoint(point, &key.PublicKey) {
			c := &compactKey{point: point}
			key.D.FillBytes(c.scalar[:]) //lint:ignore SA1019 Bytes would have package ecdsa keep what it knows of the key
			return c, true
		}
	}
	return key, false
}

// pointIn returns what would be the leaf's point in its DER if its key were for P-256, or nil.
func pointIn(der []byte, leaf *x509.Certificate) *[65]byte {
	info := leaf.RawSubjectPublicKeyInfo // which ends with the point
	before, _, found := bytes.Cut(der, info)
	if !found || len(info) < 65 {
		return nil
	}
	return (*[65]byte)(der[len(before)+len(info)-65:])
}

// isPoint reports whether point is the public key, for P-256. To have package ecdsa parse it takes ten times as long.
func isPoint(point *[65]byte, public *ecdsa.PublicKey) bool {
	var own [65]byte
	x, y := public.X, public.Y //lint:ignore SA1019 Bytes would look once more whether it is on the curve
	if x.BitLen() > 256 || y.BitLen() > 256 {
		return false
	}
	own[0] = 4 // uncompressed
	x.FillBytes(own[1:33])
	y.FillBytes(own[33:])
	return own == *point
}

// Public returns the public key, an *[ecdsa.PublicKey].
func (c *compactKey) Public() crypto.PublicKey {
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), c.point[:])
	if err != nil {
		return nil // not after compact
	}
	return public
}

// Sign signs as [ecdsa.PrivateKey.Sign] does.
func (c *compactKey) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	key, err := c.expand()
	if err != nil {
		return nil, err
	}
	return key.Sign(random, digest, opts)
}

// expand returns the key as package ecdsa has it. That key and certificate belong together was checked when the record
// was read: to multiply here as [ecdsa.ParseRawPrivateKey] does would take 12 µs.
func (c *compactKey) expand() (*ecdsa.PrivateKey, error) {
	public, ok := c.Public().(*ecdsa.PublicKey)
	if !ok {
		return nil, errDamagedKey
	}
	//lint:ignore SA1019 there is no other way without a multiplication
	return &ecdsa.PrivateKey{PublicKey: *public, D: new(big.Int).SetBytes(c.scalar[:])}, nil
}

// Format writes what stands for the key where it is shown.
func (c *compactKey) Format(f fmt.State, verb rune) { Key{Signer: c}.Format(f, verb) }
