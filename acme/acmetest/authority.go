package acmetest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"time"
)

// rootLifetime is that of a root made by the server, and of what it issues for itself.
const rootLifetime = 20 * 365 * 24 * time.Hour

// An authority signs certificates. Below each of its roots is a certificate for its intermediate key,
// so that each gives a chain for what that key has signed.
type authority struct {
	roots           []*x509.Certificate
	intermediates   []*x509.Certificate // one by each root, of the same name
	intermediateKey crypto.Signer
	policies        []x509.OID // domain-validated (CA/B Forum Baseline Requirements 7.1.6.1)
}

// newAuthority returns an authority below the root, which it makes if there is none, and below as many
// other roots as there are to be alternates.
func newAuthority(root *tls.Certificate, alternates int) (*authority, error) {
	if len(root.Certificate) == 0 {
		made, err := newRoot()
		if err != nil {
			return nil, fmt.Errorf("make a root certificate: %w", err)
		}
		*root = made
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	policy, err := x509.OIDFromInts([]uint64{2, 23, 140, 1, 2, 1})
	if err != nil {
		return nil, err
	}
	a := &authority{intermediateKey: key, policies: []x509.OID{policy}}
	name := caName("intermediate")
	if err := a.addChain(root, name); err != nil {
		return nil, err
	}
	for range alternates {
		alternate, err := newRoot()
		if err != nil {
			return nil, fmt.Errorf("make an alternate root certificate: %w", err)
		}
		if err := a.addChain(&alternate, name); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// addChain has the intermediate, which is called name, signed by the root.
func (a *authority) addChain(root *tls.Certificate, name pkix.Name) error {
	rootKey, ok := root.PrivateKey.(crypto.Signer)
	if !ok {
		return errors.New("no private key that can sign in Root")
	}
	certificate, err := x509.ParseCertificate(root.Certificate[0])
	if err != nil {
		return fmt.Errorf("read the certificate in Root: %w", err)
	}
	if !certificate.IsCA {
		return fmt.Errorf("the certificate in Root (%s) is not that of a CA", certificate.Subject)
	}
	template := caTemplate(name, certificate.NotBefore, certificate.NotAfter)
	template.MaxPathLenZero = true
	template.Policies = a.policies
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	intermediate, err := sign(template, certificate, a.intermediateKey.Public(), rootKey)
	if err != nil {
		return fmt.Errorf("sign an intermediate certificate with Root: %w", err)
	}
	a.roots = append(a.roots, certificate)
	a.intermediates = append(a.intermediates, intermediate)
	return nil
}

func newRoot() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	template := caTemplate(caName("root"), now.Add(-24*time.Hour), now.Add(rootLifetime))
	template.SubjectKeyId = subjectKeyID(key.Public())
	root, err := sign(template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{root.Raw}, PrivateKey: key, Leaf: root}, nil
}

// caName returns a name that no other CA has. XX is the country of what belongs to none.
func caName(role string) pkix.Name {
	return pkix.Name{Country: []string{"XX"}, Organization: []string{"acmetest"}, CommonName: fmt.Sprintf("acmetest %s %s", role, randomID()[:6])}
}

// caTemplate returns a template for a CA's certificate.
func caTemplate(name pkix.Name, notBefore, notAfter time.Time) *x509.Certificate {
	return &x509.Certificate{
		Subject:               name,
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
}

// leafTemplate returns a template for a server's certificate. The common name may be empty.
func leafTemplate(identifiers []identifier, commonName string, notBefore, notAfter time.Time) *x509.Certificate {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: commonName},
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, id := range identifiers {
		if id.Type == typeIP {
			template.IPAddresses = append(template.IPAddresses, net.ParseIP(id.Value))
		} else {
			template.DNSNames = append(template.DNSNames, id.Value)
		}
	}
	return template
}

// issue signs a certificate for key with the intermediate.
func (a *authority) issue(template *x509.Certificate, key crypto.PublicKey) (*x509.Certificate, error) {
	template.Policies = a.policies
	return sign(template, a.intermediates[0], key, a.intermediateKey)
}

// serverCertificate returns a certificate for the server's own socket: for the host in its URL, and for what
// leads there on the same machine.
func (a *authority) serverCertificate(host string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	identifiers := []identifier{{typeDNS, "localhost"}, {typeIP, "127.0.0.1"}, {typeIP, "::1"}}
	own := identifier{typeDNS, host}
	if net.ParseIP(host) != nil {
		own.Type = typeIP
	}
	if !slices.Contains(identifiers, own) {
		identifiers = append(identifiers, own)
	}
	leaf, err := a.issue(leafTemplate(identifiers, "", a.intermediates[0].NotBefore, a.intermediates[0].NotAfter), key.Public())
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{leaf.Raw, a.intermediates[0].Raw}, PrivateKey: key, Leaf: leaf}, nil
}

// sign gives the template a random serial number of 128 bits and a key identifier, and signs it.
func sign(template, parent *x509.Certificate, key crypto.PublicKey, parentKey crypto.Signer) (*x509.Certificate, error) {
	serial := make([]byte, 16)
	rand.Read(serial) // never fails
	serial[0] |= 0x40 // always 16 bytes long, and in DER, half of the time, one more (RFC 9773 §4.1)
	template.SerialNumber = new(big.Int).SetBytes(serial)
	template.SubjectKeyId = subjectKeyID(key)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, parentKey)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// subjectKeyID returns a key's identifier: the first 160 bits of a SHA-256 hash of it (RFC 7093).
func subjectKeyID(key crypto.PublicKey) []byte {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil // CreateCertificate refuses the key too, and says why
	}
	sum := sha256.Sum256(der)
	return sum[:20]
}
