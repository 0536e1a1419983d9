package challenge

import (
	"crypto/sha256"
	"crypto/x509/pkix"
	"encoding/asn1"
	"net/netip"

	"github.com/everseal/everseal/acme"
)

// ACMEIdentifier returns the extension id-pe-acmeIdentifier (RFC 8737 §3): the digest of the key
// authorization in an OCTET STRING.
func ACMEIdentifier(keyAuthorization string) pkix.Extension {
	digest := sha256.Sum256([]byte(keyAuthorization))
	return pkix.Extension{
		Id:       asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31},
		Critical: true,
		Value:    append([]byte{asn1.TagOctetString, sha256.Size}, digest[:]...),
	}
}

// SubjectAltName returns the extension that names id and nothing else (RFC 5280 §4.2.1.6).
func SubjectAltName(id acme.Identifier) (pkix.Extension, error) {
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
