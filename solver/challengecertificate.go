package solver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver/internal/challenge"
)

// newChallengeCertificate returns a self-signed certificate for id alone that carries the digest of
// the key authorization (RFC 8737 §3). Making one takes a tenth of a handshake's time: none are kept.
func newChallengeCertificate(id acme.Identifier, keyAuthorization string) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("solver: tls-alpn-01 for %q: %w", id, err)
	}
	names, err := challenge.SubjectAltName(id)
	if err != nil {
		return nil, fmt.Errorf("solver: tls-alpn-01 for %q: %w", id, err)
	}
	now := time.Now()
	template := &x509.Certificate{
		// With an empty subject the alternative name would have to be critical.
		Subject:         pkix.Name{Organization: []string{"ACME challenge"}},
		NotBefore:       now.Add(-24 * time.Hour),
		NotAfter:        now.Add(24 * time.Hour),
		KeyUsage:        x509.KeyUsageDigitalSignature,
		ExtKeyUsage:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		ExtraExtensions: []pkix.Extension{names, challenge.ACMEIdentifier(keyAuthorization)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("solver: tls-alpn-01 for %q: %w", id, err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
