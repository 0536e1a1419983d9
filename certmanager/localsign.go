package certmanager

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net/netip"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/record"
)

// renew returns the CA with a fresh intermediate, or a new one if there is none.
func (a *localAuthority) renew(old *record.Authority, now time.Time) (*record.Authority, error) {
	fresh := new(record.Authority)
	fresh.Permitted, fresh.Excluded = a.constraints.permitted, a.constraints.excluded
	var err error
	if old != nil {
		fresh.Root = old.Root
	} else if fresh.Root, err = a.makeCA("root", nil, now, rootLifetime); err != nil {
		return nil, err
	}
	if end := fresh.Root.Certificate.NotAfter; !now.Before(end) {
		return nil, fmt.Errorf("the root ended at %s: give the LocalCA another Name, and have clients trust the new root", end.UTC().Format(time.RFC3339))
	}
	fresh.Intermediate, err = a.makeCA("intermediate", &fresh.Root, now, intermediateLifetime)
	return fresh, err
}

// makeCA returns a certificate of the role with its key, signed by the parent; nil: by itself.
func (a *localAuthority) makeCA(role string, parent *record.SigningCertificate, now time.Time, lifetime time.Duration) (made record.SigningCertificate, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return made, err
	}
	serial := newSerial()
	template := &x509.Certificate{
		SerialNumber: serial,
		// No two of one name: clients may trust the roots of several machines.
		Subject:   pkix.Name{Organization: []string{"Everseal local CA"}, CommonName: fmt.Sprintf("%.40s %s %06x", a.id, role, serial.Bits()[0]&0xffffff)},
		NotBefore: now.Add(-localBackdate), NotAfter: now.Add(lifetime),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true,
	}
	a.constraints.apply(template)
	signer := record.SigningCertificate{Key: record.Key{Signer: key}, Certificate: template}
	if parent != nil {
		signer = *parent
		template.MaxPathLenZero = true
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	made.Key = record.Key{Signer: key}
	made.Certificate, err = sign(template, &signer, key.Public())
	return made, err
}

// signLeaf signs the certificate that the request is for. It ends with the intermediate, at the latest.
func signLeaf(by *record.SigningCertificate, r *Request, now time.Time, lifetime time.Duration) (*x509.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: newSerial(), NotBefore: now.Add(-localBackdate), NotAfter: now.Add(lifetime),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	if _, ok := r.Key.Public().(*rsa.PublicKey); ok {
		template.KeyUsage |= x509.KeyUsageKeyEncipherment
	}
	for _, id := range r.Identifiers {
		if id.Type != acme.TypeIP {
			template.DNSNames = append(template.DNSNames, id.Value)
			continue
		}
		addr, err := netip.ParseAddr(id.Value)
		if err != nil {
			return nil, err
		}
		template.IPAddresses = append(template.IPAddresses, addr.AsSlice())
	}
	return sign(template, by, r.Key.Public())
}

// sign signs the template for a key. What is signed ends with what has signed it, at the latest.
func sign(template *x509.Certificate, by *record.SigningCertificate, key crypto.PublicKey) (*x509.Certificate, error) {
	if end := by.Certificate.NotAfter; end.Before(template.NotAfter) {
		template.NotAfter = end
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.Certificate, key, by.Key.Signer)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// newSerial returns a random number of 128 bits that is not zero.
func newSerial() *big.Int {
	random := make([]byte, 16)
	for {
		_, _ = rand.Read(random) // it never fails
		if serial := new(big.Int).SetBytes(random); serial.Sign() > 0 {
			return serial
		}
	}
}
