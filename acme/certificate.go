package acme

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
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

// Bounds of a chain: verifying a signature takes the longer the larger the signer's key.
const (
	mostCertificates = 20
	largestRSA       = 8192 // bits
)

// GetCertificate downloads the certificate of a valid order (RFC 8555 §7.4.2). It checks that the
// answer is a chain, not whom it is for.
func (c *Client) GetCertificate(ctx context.Context, url string) (*Certificate, error) {
	resp, err := c.post(ctx, request{url: url, body: []byte{}, limit: largestChain, named: true})
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

func parseChain(data []byte) (*Certificate, error) {
	var chain []*x509.Certificate
	certificate := new(Certificate)
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		data = rest
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("a PEM block of type %.40q stands in the chain", block.Type)
		}
		if len(chain) == mostCertificates {
			return nil, fmt.Errorf("the chain has more than %d certificates", mostCertificates)
		}
		parsed, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			// The error may quote what it can't read whole.
			return nil, fmt.Errorf("certificate %d of the chain: %s", len(chain)+1, printable(err.Error(), 200))
		}
		if key, ok := parsed.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() > largestRSA {
			return nil, fmt.Errorf("certificate %d of the chain has an RSA key of %d bits, more than %d", len(chain)+1, key.N.BitLen(), largestRSA)
		}
		chain = append(chain, parsed)
		certificate.Chain = append(certificate.Chain, parsed.Raw)
	}
	if len(chain) == 0 {
		return nil, errors.New("it holds no certificate in PEM")
	}
	for i, parsed := range chain[:len(chain)-1] {
		if err := parsed.CheckSignatureFrom(chain[i+1]); err != nil {
			return nil, fmt.Errorf("certificate %d of the chain was not signed by the next: %w", i+1, err)
		}
	}
	certificate.Leaf = chain[0]
	return certificate, nil
}

var errNotYetValid = errors.New("which is in the future")

// clockSkew is how far in the future a certificate may begin: clocks differ, and most CAs date back.
const clockSkew = 5 * time.Minute

// Verify checks that the certificate is fit for use at the given time: that it is for the public key,
// names all the identifiers, has begun (or will within five minutes, for clocks differ) and has not ended. It does not judge whether clients trust it.
func (c *Certificate) Verify(public crypto.PublicKey, identifiers []Identifier, now time.Time) error {
	if c == nil || c.Leaf == nil {
		return errors.New("there is no certificate")
	}
	key, ok := public.(interface{ Equal(crypto.PublicKey) bool })
	switch {
	case !ok || !key.Equal(c.Leaf.PublicKey):
		return errors.New("the certificate is for another key")
	case now.After(c.Leaf.NotAfter):
		return fmt.Errorf("the certificate expired at %s", c.Leaf.NotAfter.UTC().Format(time.RFC3339))
	case c.Leaf.NotBefore.After(now.Add(clockSkew)):
		return fmt.Errorf("the certificate begins at %s, %w: is this machine's clock right?", c.Leaf.NotBefore.UTC().Format(time.RFC3339), errNotYetValid)
	}
	for _, id := range identifiers {
		if !covers(c.Leaf, id) {
			return fmt.Errorf("the certificate does not name %s", id.Value)
		}
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
