package certmanager

import (
	"crypto/tls"
	"slices"
)

// An algorithm is what clients understand of a kind of key, or do not, in a byte: it is among what a handshake reads first.
type algorithm uint8

const (
	anyRSA algorithm = iota
	ecdsaP256
	ecdsaP384
)

func (t KeyType) algorithm() algorithm {
	switch t {
	case ECDSAP256:
		return ecdsaP256
	case ECDSAP384:
		return ecdsaP384
	default:
		return anyRSA
	}
}

// understoodBy reports whether the client can use a certificate with such a key. It is what [tls.ClientHelloInfo]'s
// SupportsCertificate finds out by reading the certificate, and allocating.
func (a algorithm) understoodBy(hello *tls.ClientHelloInfo) bool {
	if slices.Contains(hello.SupportedVersions, tls.VersionTLS13) {
		if a == anyRSA {
			return takes(hello, tls.PSSWithSHA256, tls.PSSWithSHA384, tls.PSSWithSHA512)
		}
		return takes(hello, a.scheme())
	}
	if len(hello.SupportedPoints) > 0 && !slices.Contains(hello.SupportedPoints, 0) { // 0: uncompressed (RFC 8422 §5.1.2)
		return false
	}
	if a == anyRSA {
		return takes(hello, tls.PSSWithSHA256, tls.PSSWithSHA384, tls.PSSWithSHA512, tls.PKCS1WithSHA256, tls.PKCS1WithSHA384, tls.PKCS1WithSHA512) &&
			offers(hello.SupportedCurves, tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521) &&
			offers(hello.CipherSuites, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
				tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA)
	}
	return takes(hello, tls.ECDSAWithP256AndSHA256, tls.ECDSAWithP384AndSHA384, tls.ECDSAWithP521AndSHA512) &&
		offers(hello.SupportedCurves, a.curve()) &&
		offers(hello.CipherSuites, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA)
}

// scheme returns the one signature scheme that TLS 1.3 has for a key of ECDSA (RFC 8446 §4.2.3).
func (a algorithm) scheme() tls.SignatureScheme {
	if a == ecdsaP384 {
		return tls.ECDSAWithP384AndSHA384
	}
	return tls.ECDSAWithP256AndSHA256
}

// curve returns that of a key of ECDSA.
func (a algorithm) curve() tls.CurveID {
	if a == ecdsaP384 {
		return tls.CurveP384
	}
	return tls.CurveP256
}

// takes reports whether the client takes signatures of one of the schemes.
func takes(hello *tls.ClientHelloInfo, schemes ...tls.SignatureScheme) bool {
	return offers(hello.SignatureSchemes, schemes...)
}

// offers reports whether one of some is among all.
func offers[T comparable](all []T, some ...T) bool {
	for _, one := range some {
		if slices.Contains(all, one) {
			return true
		}
	}
	return false
}
