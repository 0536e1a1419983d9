package solver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"net/netip"
	"time"

	"github.com/everseal/everseal/acme"
)

// newChallengeCertificate returns a self-signed certificate for id alone that carries the digest of
// the key authorization (RFC 8737 §3). Making one takes a tenth of a handshake's time: none are kept.
func newChallengeCertificate(id acme.Identifier, keyAuthorization string) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("solver: tls-alpn-01 for %q: %w", id, err)
	}
	names, err := subjectAltName(id)
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
		ExtraExtensions: []pkix.Extension{names, acmeIdentifier(keyAuthorization)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("solver: tls-alpn-01 for %q: %w", id, err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// acmeIdentifier returns the extension id-pe-acmeIdentifier (RFC 8737 §3): the digest of the key
// authorization in an OCTET STRING.
func acmeIdentifier(keyAuthorization string) pkix.Extension {
	digest := sha256.Sum256([]byte(keyAuthorization))
	return pkix.Extension{
		Id:       asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31},
		Critical: true,
		Value:    append([]byte{asn1.TagOctetString, sha256.Size}, digest[:]...),
	}
}

// subjectAltName returns the extension that names id and nothing else (RFC 5280 §4.2.1.6).
func subjectAltName(id acme.Identifier) (pkix.Extension, error) {
	const dnsName, ipAddress = 2, 7
	name := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: dnsName, Bytes: []byte(id.Value)}
	if id.Type == acme.TypeIP {
		addr, err := netip.ParseAddr(id.Value)
		if err != nil {
			return pkix.Extension{}, err
		}
		name.Tag, name.Bytes = ipAddress, addr.AsSlice()
	}
	value, err := asn1.Marshal([]asn1.RawValue{name})
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: value}, err
}
