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

// compact returns the key of the leaf, given as DER and parsed, as a compactKey where it can be one.
func compact(key crypto.Signer, der []byte, leaf *x509.Certificate) crypto.Signer {
	private, ok := key.(*ecdsa.PrivateKey)
	if !ok || private.Curve != elliptic.P256() {
		return key
	}
	c := new(compactKey)
	before, _, found := bytes.Cut(der, leaf.RawSubjectPublicKeyInfo) // which ends with the point
	end := len(before) + len(leaf.RawSubjectPublicKeyInfo)
	if !found || end < len(c.point) {
		return key
	}
	c.point = (*[65]byte)(der[end-len(c.point) : end])
	private.D.FillBytes(c.scalar[:]) //lint:ignore SA1019 Bytes would have package ecdsa keep what it knows of the key
	if !isPoint(c.point, &private.PublicKey) {
		return key
	}
	return c
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
