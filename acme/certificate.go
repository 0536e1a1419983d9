package acme

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// A Certificate is what an order was for: the chain that the CA issued.
type Certificate struct {
	URL   string            // where the CA keeps it, with the chain that it offers first
	Chain [][]byte          // DER, leaf first, as a TLS server sends it
	Leaf  *x509.Certificate // the first of Chain

	// Alternates are the URLs of other chains for the same leaf (RFC 8555 §7.4.2), for GetCertificate.
	Alternates []string

	// Warnings say what was odd about the CA's answer and was left out of Chain, fit for a log.
	Warnings []string

	date time.Time // by the CA's clock when it was downloaded; zero: it did not tell
}

// PEM returns the chain as PEM, leaf first.
func (c *Certificate) PEM() []byte {
	var b bytes.Buffer
	for _, der := range c.Chain {
		// Writing to a buffer does not fail.
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	return b.Bytes()
}

// GetCertificate downloads the certificate of a valid order (RFC 8555 §7.4.2). It checks that the answer
// begins with a certificate, not whom that is for, and keeps of the others those that form the path from it.
func (c *Client) GetCertificate(ctx context.Context, url string) (*Certificate, error) {
	resp, err := c.post(ctx, request{action: "certificate", url: url, body: []byte{}, limit: largestChain, named: true})
	if err != nil {
		return nil, actionError("get certificate", err)
	}
	certificate, err := parseChain(resp.body)
	if err != nil {
		return nil, fmt.Errorf("acme: get certificate: %w (the answer was %s)", err, resp.excerpt())
	}
	certificate.URL, certificate.Alternates, certificate.date = url, resp.links("alternate"), resp.date()
	return certificate, nil
}

// chainsTo reports whether a certificate of the chain, or the root above it, has the common name.
func (c *Certificate) chainsTo(name string) bool {
	for _, der := range c.Chain {
		parsed, err := x509.ParseCertificate(der)
		if err == nil && parsed.Issuer.CommonName == name {
			return true
		}
	}
	return false
}

// What a right clock would mend.
var (
	errNotYetValid = errors.New("which is in the future")
	errExpired     = errors.New("which is in the past")
)

// clockSkew is how far in the future a certificate may begin: clocks differ, and most CAs date back.
const clockSkew = 5 * time.Minute

// Verify checks that the certificate is fit for use at the given time: that it is for the public key, names
// all the identifiers, is one for servers to present (RFC 5280 §4.2), has begun (or will within five minutes,
// for clocks differ) and has not ended. It does not judge whether clients trust it.
func (c *Certificate) Verify(public crypto.PublicKey, identifiers []Identifier, now time.Time) error {
	if c == nil || c.Leaf == nil {
		return errors.New("there is no certificate")
	}
	key, ok := public.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !key.Equal(c.Leaf.PublicKey) {
		return errors.New("the certificate is for another key")
	}
	for _, id := range identifiers {
		if !covers(c.Leaf, id) {
			return fmt.Errorf("the certificate does not name %s", id.Value)
		}
	}
	if err := checkForServers(c.Leaf); err != nil {
		return err
	}
	begins, ends := c.Leaf.NotBefore.UTC(), c.Leaf.NotAfter.UTC()
	switch {
	case ends.Before(begins):
		return fmt.Errorf("the certificate ends before it begins, at %s", ends.Format(time.RFC3339))
	case begins.After(now.Add(clockSkew)):
		return fmt.Errorf("the certificate begins at %s, %w: is this machine's clock right?", begins.Format(time.RFC3339), errNotYetValid)
	case now.After(ends):
		return fmt.Errorf("the certificate expired at %s, %w: is this machine's clock right?", ends.Format(time.RFC3339), errExpired)
	}
	return nil
}

// checkForServers reports why no server should present the certificate.
func checkForServers(leaf *x509.Certificate) error {
	poison := asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 3} // RFC 6962 §3.1
	usages := leaf.ExtKeyUsage
	switch {
	case slices.ContainsFunc(leaf.UnhandledCriticalExtensions, poison.Equal):
		return errors.New("it is a precertificate, which is for logs only, and not the certificate itself")
	case len(leaf.UnhandledCriticalExtensions) > 0:
		return fmt.Errorf("the certificate has the critical extension %s, which is unknown", printable(leaf.UnhandledCriticalExtensions[0].String(), 100))
	case leaf.BasicConstraintsValid && leaf.IsCA:
		return errors.New("the certificate is that of a CA, not of a server")
	case len(usages)+len(leaf.UnknownExtKeyUsage) > 0 && !slices.Contains(usages, x509.ExtKeyUsageServerAuth) && !slices.Contains(usages, x509.ExtKeyUsageAny):
		return errors.New("the certificate is not for servers: its extended key usage lacks serverAuth")
	case leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return errors.New("the certificate's key may not sign, as TLS needs it: its key usage lacks digitalSignature")
	}
	return nil
}

// covers reports whether the certificate names the identifier itself; a wildcard that matches it is
// not what was ordered.
func covers(leaf *x509.Certificate, id Identifier) bool {
	if id.Type == TypeDNS {
		return slices.ContainsFunc(leaf.DNSNames, func(name string) bool { return strings.EqualFold(name, id.Value) })
	}
	for _, ip := range leaf.IPAddresses {
		if addr, ok := netip.AddrFromSlice(ip); ok && addr.Unmap().String() == id.Value {
			return true
		}
	}
	return false
}
