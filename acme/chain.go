package acme

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
)

// Bounds of a chain: verifying a signature takes the longer the larger the signer's key.
const (
	maxCertificates = 20
	largestRSA      = 8192 // bits
)

// parseChain returns the first certificate of a CA's answer, and of the others those that form the path from
// it, in order. What else there is would not keep clients from trusting it (RFC 8446 §4.4.2): it is left out.
func parseChain(text []byte) (*Certificate, error) {
	blocks := pemCertificates(text)
	switch {
	case len(blocks) == 0:
		return nil, errors.New("it holds no certificate in PEM")
	case len(blocks) > maxCertificates:
		return nil, fmt.Errorf("the chain has more than %d certificates", maxCertificates)
	case blocks[0] == nil:
		return nil, fmt.Errorf("certificate 1 of the chain: %s", readable(blocks))
	}
	leaf, err := parseCertificate(blocks[0])
	if err != nil {
		return nil, fmt.Errorf("certificate 1 of the chain: %w", err)
	}
	certificate := &Certificate{Leaf: leaf, Chain: [][]byte{leaf.Raw}}
	if n := countOtherPEM(text); n > 0 {
		certificate.Warnings = []string{fmt.Sprintf("%d blocks of PEM that are no certificates were left out of the chain", n)}
	}
	candidates := certificate.parseOthers(blocks)
	for last := leaf; !isSignedBy(last, last); {
		i := findIssuer(last, candidates)
		if i < 0 {
			break
		}
		last = candidates[i]
		certificate.Chain = append(certificate.Chain, last.Raw)
		candidates[i] = nil
	}
	for i, stranger := range candidates {
		if stranger != nil {
			certificate.leaveOut(i, fmt.Sprintf("it is of %q and is not needed to verify the first", printable(stranger.Subject.String(), 100)))
		}
	}
	return certificate, nil
}

// readable says how many of the blocks can be read.
func readable(blocks [][]byte) string {
	n := 0
	for _, block := range blocks {
		if block != nil {
			n++
		}
	}
	if len(blocks) == 1 {
		return fmt.Sprintf("1 block begins, %d can be read", n)
	}
	return fmt.Sprintf("%d blocks begin, %d can be read", len(blocks), n)
}

// parseOthers returns the certificates after the first at their places in the answer, and nil for what is left
// out.
func (c *Certificate) parseOthers(blocks [][]byte) []*x509.Certificate {
	candidates := make([]*x509.Certificate, len(blocks))
	for i, block := range blocks {
		switch {
		case i == 0:
			continue
		case block == nil:
			c.leaveOut(i, readable(blocks))
			continue
		case slices.ContainsFunc(blocks[:i], func(earlier []byte) bool { return bytes.Equal(earlier, block) }):
			c.leaveOut(i, "it repeats another")
			continue
		}
		parsed, err := parseCertificate(block)
		if err != nil {
			c.leaveOut(i, err.Error())
			continue
		}
		candidates[i] = parsed
	}
	return candidates
}

// leaveOut warns that the certificate at the place i of the answer is left out of the chain.
func (c *Certificate) leaveOut(i int, why string) {
	c.Warnings = append(c.Warnings, fmt.Sprintf("certificate %d of the CA's answer was left out of the chain: %s", i+1, why))
}

// parseCertificate parses a certificate whose signatures can be verified in bounded time. Its errors can be
// logged: those of x509 may quote what it can't read whole.
func parseCertificate(der []byte) (*x509.Certificate, error) {
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, errors.New(printable(err.Error(), 200))
	}
	if key, ok := parsed.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() > largestRSA {
		return nil, fmt.Errorf("it has an RSA key of %d bits, more than %d", key.N.BitLen(), largestRSA)
	}
	return parsed, nil
}

// findIssuer returns which of the candidates, of which some are nil, has signed the certificate, or -1. One
// that another vouches for goes before one that vouches for itself: it serves the clients of both.
func findIssuer(c *x509.Certificate, candidates []*x509.Certificate) int {
	found := -1
	for i, candidate := range candidates {
		if candidate == nil || !isSignedBy(c, candidate) {
			continue
		}
		if !isSignedBy(candidate, candidate) {
			return i
		}
		if found < 0 {
			found = i
		}
	}
	return found
}

// isSignedBy reports whether issuer has signed c. Whether it should have is for clients to judge.
func isSignedBy(c, issuer *x509.Certificate) bool {
	if !bytes.Equal(c.RawIssuer, issuer.RawSubject) {
		return false
	}
	err := issuer.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature)
	if _, insecure := errors.AsType[x509.InsecureAlgorithmError](err); insecure || errors.Is(err, x509.ErrUnsupportedAlgorithm) {
		// What can't be verified here clients may be able to.
		return len(c.AuthorityKeyId) == 0 || len(issuer.SubjectKeyId) == 0 || bytes.Equal(c.AuthorityKeyId, issuer.SubjectKeyId)
	}
	return err == nil
}
