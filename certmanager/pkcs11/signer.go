package pkcs11

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"sync/atomic"
	"time"

	"github.com/miekg/pkcs11"
)

// signTimeout bounds the wait for a session, for whoever signs has no context.
const signTimeout = 10 * time.Second

// A signer is a private key on the token.
type signer struct {
	keys   *Keys
	ref    string
	public crypto.PublicKey
	handle atomic.Uint64 // of the private key
}

// Public returns the public key.
func (g *signer) Public() crypto.PublicKey { return g.public }

// Sign has the token sign, as [ecdsa.PrivateKey.Sign] or [rsa.PrivateKey.Sign] do. The randomness is the token's.
func (g *signer) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	hash := opts.HashFunc()
	if hash != 0 && len(digest) != hash.Size() {
		return nil, fmt.Errorf("pkcs11: the digest has %d bytes, %v has %d", len(digest), hash, hash.Size())
	}
	mechanism, input, err := g.prepare(digest, opts)
	if err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	timeout := time.AfterFunc(signTimeout, func() { close(ended) })
	defer timeout.Stop()
	var signature []byte
	err = g.keys.sessions.use(ended, func(s pkcs11.SessionHandle) (err error) {
		signature, err = g.sign(s, mechanism, input)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("pkcs11: sign with the key %s: %w", g.ref, err)
	}
	if _, ok := g.public.(*ecdsa.PublicKey); ok {
		return encodeSignature(signature)
	}
	return signature, nil
}

// sign signs once more with a new handle if the one there is has become invalid, as when the token was away.
func (g *signer) sign(s pkcs11.SessionHandle, mechanism *pkcs11.Mechanism, input []byte) ([]byte, error) {
	module := g.keys.module
	err := module.SignInit(s, []*pkcs11.Mechanism{mechanism}, pkcs11.ObjectHandle(g.handle.Load()))
	if isCode(err, pkcs11.CKR_KEY_HANDLE_INVALID, pkcs11.CKR_OBJECT_HANDLE_INVALID) {
		handle, err := g.keys.object(s, g.ref, pkcs11.CKO_PRIVATE_KEY)
		if err != nil {
			return nil, err
		}
		g.handle.Store(uint64(handle))
		if err := module.SignInit(s, []*pkcs11.Mechanism{mechanism}, handle); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	return module.Sign(s, input)
}

// prepare returns the mechanism for the key and the options, and what it is to be given.
func (g *signer) prepare(digest []byte, opts crypto.SignerOpts) (*pkcs11.Mechanism, []byte, error) {
	switch public := g.public.(type) {
	case *ecdsa.PublicKey:
		size := (public.Params().BitSize + 7) / 8
		return pkcs11.NewMechanism(pkcs11.CKM_ECDSA, nil), digest[:min(len(digest), size)], nil // FIPS 186-5 §6.4.1
	case *rsa.PublicKey:
		if pss, ok := opts.(*rsa.PSSOptions); ok {
			params, err := paramsOf(pss, public)
			return pkcs11.NewMechanism(pkcs11.CKM_RSA_PKCS_PSS, params), digest, err
		}
		prefix, err := prefixOf(opts.HashFunc())
		return pkcs11.NewMechanism(pkcs11.CKM_RSA_PKCS, nil), slices.Concat(prefix, digest), err
	}
	return nil, nil, errors.New("pkcs11: the key is neither RSA nor EC")
}

// prefixOf returns what stands before the digest in a DigestInfo (RFC 8017 §9.2).
func prefixOf(hash crypto.Hash) ([]byte, error) {
	known := map[crypto.Hash]string{
		0:             "",
		crypto.SHA1:   "3021300906052b0e03021a05000414",
		crypto.SHA256: "3031300d060960864801650304020105000420",
		crypto.SHA384: "3041300d060960864801650304020205000430",
		crypto.SHA512: "3051300d060960864801650304020305000440",
	}
	prefix, ok := known[hash]
	if !ok {
		return nil, fmt.Errorf("pkcs11: no signature with the hash %v is supported", hash)
	}
	return hex.DecodeString(prefix)
}

// paramsOf returns those of a signature with PSS.
func paramsOf(opts *rsa.PSSOptions, public *rsa.PublicKey) ([]byte, error) {
	var hash, mask uint
	switch opts.Hash {
	case crypto.SHA256:
		hash, mask = pkcs11.CKM_SHA256, pkcs11.CKG_MGF1_SHA256
	case crypto.SHA384:
		hash, mask = pkcs11.CKM_SHA384, pkcs11.CKG_MGF1_SHA384
	case crypto.SHA512:
		hash, mask = pkcs11.CKM_SHA512, pkcs11.CKG_MGF1_SHA512
	default:
		return nil, fmt.Errorf("pkcs11: no signature by PSS with the hash %v is supported", opts.Hash)
	}
	salt := opts.SaltLength
	switch salt {
	case rsa.PSSSaltLengthEqualsHash:
		salt = opts.Hash.Size()
	case rsa.PSSSaltLengthAuto:
		salt = (public.N.BitLen()-1+7)/8 - 2 - opts.Hash.Size()
	}
	if salt < 0 {
		return nil, fmt.Errorf("pkcs11: the salt's length %d is negative, or the key too small", salt)
	}
	return pkcs11.NewPSSParams(hash, mask, uint(salt)), nil
}

// encodeSignature returns the two halves that a token gives as Ecdsa-Sig-Value (RFC 3279 §2.2.3).
func encodeSignature(halves []byte) ([]byte, error) {
	if len(halves) == 0 || len(halves)%2 != 0 || len(bytes.Trim(halves, "\x00")) == 0 {
		return nil, errors.New("pkcs11: the token returned no signature")
	}
	middle := len(halves) / 2
	return asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(halves[:middle]), new(big.Int).SetBytes(halves[middle:])})
}
