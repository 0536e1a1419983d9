package acmetest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"math/big"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// parseKey reads a JWK and checks that it is a public key which accounts may have.
func parseKey(jwk json.RawMessage) (*jose.JSONWebKey, error) {
	key := new(jose.JSONWebKey)
	if err := json.Unmarshal(jwk, key); err != nil || key.Key == nil {
		return nil, problemf(badPublicKey, "the JWK cannot be read as an RSA or elliptic curve public key")
	}
	if !key.IsPublic() {
		return nil, problemf(malformed, "the JWK has private parts: a client must never send them, and should regard this key as exposed")
	}
	return key, checkKey(key.Key, badPublicKey)
}

// checkKey returns a problem of the named type unless the key is one that CAs take, from accounts and for
// certificates alike.
func checkKey(key crypto.PublicKey, name string) error {
	switch public := key.(type) {
	case *rsa.PublicKey:
		return checkRSA(public, name)
	case *ecdsa.PublicKey:
		return checkECDSA(public, name)
	}
	return problemf(name, "the key is neither an RSA nor an elliptic curve key, but of type %T", key)
}

// checkRSA returns a problem of the named type unless the key is of a kind and strength that CAs take (CA/B
// Forum Baseline Requirements 6.1.1.3, 6.1.6).
func checkRSA(key *rsa.PublicKey, name string) error {
	bits := key.N.BitLen()
	switch {
	case !slices.Contains([]int{2048, 3072, 4096}, bits):
		return problemf(name, "the RSA key has %d bits; 2048, 3072 and 4096 are possible", bits)
	case key.E != commonExponent:
		return problemf(name, "the RSA key's exponent is %d; it must be %d", key.E, commonExponent)
	case hasSmallFactor(key.N):
		return problemf(name, "the RSA key's modulus has a small factor")
	case isStructured(key.N):
		return problemf(name, "the RSA key is of the kind that faulty hardware makes (CVE-2017-15361)")
	case hasCloseFactors(key.N):
		return problemf(name, "the RSA key's primes are too close together")
	}
	return nil
}

// checkECDSA returns a problem of the named type unless the key is on a curve that CAs take.
func checkECDSA(key *ecdsa.PublicKey, name string) error {
	switch key.Curve {
	case elliptic.P256(), elliptic.P384():
		return nil
	}
	return problemf(name, "the elliptic curve key is on %s; P-256 and P-384 are possible", key.Params().Name)
}

// algorithmFor returns the one algorithm that requests signed with the key have, empty if there is none.
func algorithmFor(key *jose.JSONWebKey) jose.SignatureAlgorithm {
	switch public := key.Key.(type) {
	case *rsa.PublicKey:
		return jose.RS256
	case *ecdsa.PublicKey:
		switch public.Curve {
		case elliptic.P256():
			return jose.ES256
		case elliptic.P384():
			return jose.ES384
		case elliptic.P521():
			return jose.ES512
		}
	}
	return ""
}

// commonExponent is the exponent of nearly all RSA keys, and the only one that CAs take.
const commonExponent = 65537

// primesTo calls f with the odd primes up to limit until it returns false.
func primesTo(limit int64, f func(p *big.Int) bool) {
	for n := int64(3); n <= limit; n += 2 {
		if p := big.NewInt(n); p.ProbablyPrime(0) && !f(p) {
			return
		}
	}
}

// hasSmallFactor reports whether n has a factor below 752.
func hasSmallFactor(n *big.Int) bool {
	small := n.Bit(0) == 0
	primesTo(751, func(p *big.Int) bool {
		small = small || new(big.Int).Mod(n, p).Sign() == 0
		return !small
	})
	return small
}

// isStructured reports whether n looks like a product of primes that are powers of 65537 modulo many small
// primes, as no random n does: then it is one itself modulo each of these.
func isStructured(n *big.Int) bool {
	structured := true
	primesTo(167, func(p *big.Int) bool {
		rest, power := new(big.Int).Mod(n, p).Int64(), int64(1)
		for range p.Int64() {
			if power == rest {
				return true
			}
			power = power * commonExponent % p.Int64()
		}
		structured = false
		return false
	})
	return structured
}

// hasCloseFactors reports whether Fermat's method finds the factors of n in few rounds: from a² - b² = n it
// tries the first a from the square root of n on.
func hasCloseFactors(n *big.Int) bool {
	const rounds = 110
	a, one := new(big.Int).Sqrt(n), big.NewInt(1)
	for range rounds {
		square := new(big.Int).Mul(a, a)
		square.Sub(square, n)
		if square.Sign() >= 0 {
			b := new(big.Int).Sqrt(square)
			if b.Mul(b, b).Cmp(square) == 0 {
				return true
			}
		}
		a.Add(a, one)
	}
	return false
}
