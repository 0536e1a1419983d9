package migrate

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"slices"

	"github.com/everseal/everseal/certmanager/internal/record"
)

// leafOf returns the certificate in the PEM that is not a CA's, of several that for the key, or else the first of all; nil: there
// is none.
func leafOf(text, key []byte) *x509.Certificate {
	var first *x509.Certificate
	var leaves []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if block.Type != pemCertificate || err != nil {
			continue
		}
		first = cmp.Or(first, c)
		if !c.IsCA && !slices.ContainsFunc(leaves, c.Equal) {
			leaves = append(leaves, c)
		}
	}
	if len(leaves) == 0 {
		return first
	}
	if len(leaves) > 1 {
		if private, err := record.ParseKeyPEM(key); err == nil {
			for _, c := range leaves {
				if public, ok := c.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); ok && public.Equal(private.Public()) {
					return c
				}
			}
		}
	}
	return leaves[0]
}

// hasAbove reports whether the PEM has the certificate above the leaf, or needs none.
func hasAbove(text []byte, leaf *x509.Certificate) bool {
	if bytes.Equal(leaf.RawIssuer, leaf.RawSubject) {
		return true
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && bytes.Equal(c.RawSubject, leaf.RawIssuer) {
			return true
		}
	}
	return false
}

var errDamagedPEM = errors.New("a block of its PEM is cut off or damaged")

// checkPEM returns an error if a block of the PEM is damaged: package pem passes over it, and a chain would be served without.
func checkPEM(text []byte) error {
	blocks := 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		blocks++
	}
	if blocks != bytes.Count(text, []byte("-----BEGIN ")) {
		return errDamagedPEM
	}
	return nil
}
