package deploy

import (
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"slices"
)

// A version is what the files of a name have: a certificate, those above it, and the key, each PEM.
type version struct {
	certificate, chain, key []byte
}

// newVersion returns the version of a chain, whose first certificate is the one that the key belongs to.
func newVersion(fullchain, key []byte) (version, error) {
	block, rest := pem.Decode(fullchain)
	if block == nil {
		return version{}, errors.New("there is no certificate")
	}
	return version{fullchain[:len(fullchain)-len(rest)], rest, key}, nil
}

func (v *version) fullchain() []byte { return slices.Concat(v.certificate, v.chain) }

// A sum tells what a file is to have, without its being kept in memory.
type sum [sha256.Size]byte

// sumOf returns that of a version.
func sumOf(files []file) []sum {
	sums := make([]sum, len(files))
	for i, f := range files {
		sums[i] = sha256.Sum256(f.content)
	}
	return sums
}
