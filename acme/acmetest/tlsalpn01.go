package acmetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// acmeTLS is the protocol by which validations are known to the server (RFC 8737 §6.2).
const acmeTLS = "acme-tls/1"

// Tags of the names in a subjectAltName (RFC 5280 §4.2.1.6).
const (
	tagDNSName   = 2
	tagIPAddress = 7
)

// validateTLSALPN01 looks for the key authorization's hash in the certificate that the identifier's
// server shows (RFC 8737 §3).
func (s *Server) validateTLSALPN01(ctx context.Context, c *challenge) error {
	id := c.authorization.identifier
	client, err := s.dialTLS(ctx, id.Value, s.tlsPort(), &tls.Config{
		ServerName: serverName(id),
		NextProtos: []string{acmeTLS},
		MinVersion: tls.VersionTLS12,
	})
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	state := client.ConnectionState()
	if state.NegotiatedProtocol != acmeTLS {
		return problemf(unauthorized, "%s negotiated the protocol %s instead of %s", id.Value, quote(state.NegotiatedProtocol), acmeTLS)
	}
	return checkALPNCertificate(state.PeerCertificates[0], id, c.keyAuthorization)
}

// checkALPNCertificate checks a certificate against RFC 8737 §3 and, for IP addresses, RFC 8738 §6.
func checkALPNCertificate(leaf *x509.Certificate, id identifier, keyAuthorization string) error {
	wrong := func(format string, args ...any) error {
		names := fmt.Sprint(leaf.DNSNames, leaf.IPAddresses)
		return problemf(incorrectResponse, "the certificate that %s shows for %s (names %s) %s", id.Value, acmeTLS, quote(names), fmt.Sprintf(format, args...))
	}
	if !bytes.Equal(leaf.RawIssuer, leaf.RawSubject) || leaf.CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature) != nil {
		return wrong("is not self-signed")
	}
	wantSAN, err := alternativeName(id)
	if err != nil {
		return err
	}
	if san := extension(leaf, asn1.ObjectIdentifier{2, 5, 29, 17}); san == nil || !bytes.Equal(san.Value, wantSAN) {
		return wrong("does not have %s as its only name", id.Value)
	}
	hash := sha256.Sum256([]byte(keyAuthorization))
	wantValue, err := asn1.Marshal(hash[:])
	if err != nil {
		return err
	}
	identifierExtension := extension(leaf, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31})
	switch {
	case identifierExtension == nil:
		return wrong("has no acmeIdentifier extension")
	case !identifierExtension.Critical:
		return wrong("has an acmeIdentifier extension that is not critical")
	case !bytes.Equal(identifierExtension.Value, wantValue):
		return wrong("has the acmeIdentifier %s instead of %s", quote(hex.EncodeToString(identifierExtension.Value)), quote(hex.EncodeToString(wantValue)))
	}
	return nil
}

// serverName returns the name that a client indicates for id: for an IP address that of its reverse
// mapping (RFC 8738 §6).
func serverName(id identifier) string {
	addr, err := netip.ParseAddr(id.Value)
	if err != nil {
		return id.Value
	}
	digits, zone := addr.AsSlice(), "in-addr.arpa"
	format := "%d"
	if addr.Is6() {
		digits, zone, format = []byte(hex.EncodeToString(digits)), "ip6.arpa", "%c"
	}
	labels := make([]string, 0, len(digits)+1)
	for _, digit := range slices.Backward(digits) {
		labels = append(labels, fmt.Sprintf(format, digit))
	}
	return strings.Join(append(labels, zone), ".")
}

// alternativeName returns the value of a subjectAltName extension with nothing but id.
func alternativeName(id identifier) ([]byte, error) {
	name := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tagDNSName, Bytes: []byte(id.Value)}
	if addr, err := netip.ParseAddr(id.Value); err == nil {
		name.Tag, name.Bytes = tagIPAddress, addr.AsSlice()
	}
	return asn1.Marshal([]asn1.RawValue{name})
}

// extension returns the certificate's extension of the type, nil if it has none.
func extension(certificate *x509.Certificate, of asn1.ObjectIdentifier) *pkix.Extension {
	i := slices.IndexFunc(certificate.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(of) })
	if i < 0 {
		return nil
	}
	return &certificate.Extensions[i]
}
