package certmanager

import (
	"crypto/tls"
	"slices"
	"strings"
	"time"
)

// certificateFor returns what the client is to be served with, of the first kind of key that it understands, if that is in
// memory and there is nothing else to be thought of; nil: there is. The entry may be nil.
func (e *entry) certificateFor(hello *tls.ClientHelloInfo) *tls.Certificate {
	if e != nil && e.alternative != nil {
		e = e.choose(hello)
	}
	if e == nil || !e.roles.areUsual() {
		return nil
	}
	if s := e.served.Load(); s != nil {
		return &s.Certificate
	}
	return nil
}

// choose returns the first alternative that has a certificate that the client understands, or nil. One that has expired is
// chosen for want of another. The entry may be nil.
func (e *entry) choose(hello *tls.ClientHelloInfo) *entry {
	var expired *entry
	for a := e; a != nil; a = a.alternative {
		switch {
		case a.held() == nil || e.alternative != nil && !a.keyType().understoodBy(hello):
		case e.alternative == nil || !a.roles.has(late) || time.Now().Before(a.end()):
			return a
		case expired == nil:
			expired = a
		}
	}
	return expired
}

// ready returns the first alternative that has a certificate, or nil. The entry may be nil.
func (e *entry) ready() *entry {
	for a := e; a != nil; a = a.alternative {
		if a.held() != nil {
			return a
		}
	}
	return nil
}

// certificate returns what is in memory of the first alternative that has something there, or nil. The entry may be nil.
func (e *entry) certificate() *tls.Certificate {
	for a := e; a != nil; a = a.alternative {
		if s := a.served.Load(); s != nil {
			return &s.Certificate
		}
	}
	return nil
}

// unloadedFor returns the first alternative that would be served to the client if the storage had something for it, of which
// that is not known yet; nil: there is none.
func (e *entry) unloadedFor(hello *tls.ClientHelloInfo) *entry {
	for a := range e.alternatives() {
		if !a.progress.isLoaded() && (e.alternative == nil || a.keyType().understoodBy(hello)) {
			return a
		}
	}
	return nil
}

// understoodBy reports whether the client can use a certificate with such a key. It is what [tls.ClientHelloInfo]'s
// SupportsCertificate finds out by reading the certificate, and allocating.
func (t KeyType) understoodBy(hello *tls.ClientHelloInfo) bool {
	rsa := strings.HasPrefix(string(t), "rsa-")
	if slices.Contains(hello.SupportedVersions, tls.VersionTLS13) {
		if rsa {
			return takes(hello, tls.PSSWithSHA256, tls.PSSWithSHA384, tls.PSSWithSHA512)
		}
		return takes(hello, t.scheme())
	}
	if len(hello.SupportedPoints) > 0 && !slices.Contains(hello.SupportedPoints, 0) { // 0: uncompressed (RFC 8422 §5.1.2)
		return false
	}
	if rsa {
		return takes(hello, tls.PSSWithSHA256, tls.PSSWithSHA384, tls.PSSWithSHA512, tls.PKCS1WithSHA256, tls.PKCS1WithSHA384, tls.PKCS1WithSHA512) &&
			offers(hello.SupportedCurves, tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521) &&
			offers(hello.CipherSuites, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
				tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA)
	}
	return takes(hello, tls.ECDSAWithP256AndSHA256, tls.ECDSAWithP384AndSHA384, tls.ECDSAWithP521AndSHA512) &&
		offers(hello.SupportedCurves, t.curve()) &&
		offers(hello.CipherSuites, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA)
}

// scheme returns the one signature scheme that TLS 1.3 has for a key of ECDSA (RFC 8446 §4.2.3).
func (t KeyType) scheme() tls.SignatureScheme {
	if t == ECDSAP384 {
		return tls.ECDSAWithP384AndSHA384
	}
	return tls.ECDSAWithP256AndSHA256
}

// curve returns that of a key of ECDSA.
func (t KeyType) curve() tls.CurveID {
	if t == ECDSAP384 {
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
