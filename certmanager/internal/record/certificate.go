package record

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/everseal/everseal/acme"
)

// A Certificate is a certificate with its key, as one record holds both: no reader ever sees a key that does not match
// its certificate.
type Certificate struct {
	Meta
	Key   Key
	Chain [][]byte // DER, leaf first; not to be changed, for certificates share what is above the leaf

	// Of the leaf, which is not kept parsed: that would take more memory than all the rest.
	Serial              string // hexadecimal, of whole bytes
	NotBefore, NotAfter time.Time

	// End is when the first certificate of the chain ends: a path is valid as long as all of it is (RFC 5280 §6.1). A root
	// at the end of the chain, which its readers have or have not, does not count. Neither does what had ended before
	// the certificate was obtained: another would end as soon.
	End   time.Time
	EndOf string // the subject of the one that ends first, fit for a log line; empty: the leaf
	Ended string // the subject of one that had ended before, fit for a log line; empty: none had
}

// Meta is what a record says of a certificate besides key and chain.
type Meta struct {
	Issuer   string    `json:"issuer"`        // Issuer.ID
	Names    []string  `json:"names"`         // of the subject
	KeyType  string    `json:"keyType"`       // of the subject
	URL      string    `json:"url,omitempty"` // where the CA keeps the certificate
	Obtained time.Time `json:"obtained"`      // UTC
	OnDemand bool      `json:"onDemand,omitempty"`
	Imported bool      `json:"imported,omitempty"` // signed by whomever; Issuer is who is to sign its successor

	Validations []Validation `json:"validations,omitempty"` // as far as known
	Predecessor string       `json:"predecessor,omitempty"` // serial number of the one replaced, hexadecimal
}

// A Validation is how control of a name was proved.
type Validation struct {
	Name      string    `json:"name"`
	Type      string    `json:"type"`               // of the challenge, such as "http-01"
	Validated time.Time `json:"validated,omitzero"` // at the latest, UTC; if the CA wanted no proof for this certificate, of the last one known
}

// New returns the record of a certificate that has been issued for the key. It checks that the two belong together, and
// that all of the chain are certificates; whether they are fit for use, [acme.Certificate.Verify] tells.
func New(meta Meta, key Key, issued *acme.Certificate, shared *Intermediates) (*Certificate, error) {
	switch {
	case issued == nil || issued.Leaf == nil:
		return nil, errors.New("there is no certificate")
	case !belongs(key.Signer, issued.Leaf.PublicKey):
		return nil, errors.New("the certificate is for another key")
	case len(issued.Chain) == 0 || !bytes.Equal(issued.Chain[0], issued.Leaf.Raw):
		return nil, errors.New("the chain does not begin with the certificate")
	}
	tail, err := shared.share(issued.Chain)
	if err != nil {
		return nil, err
	}
	c, der := &Certificate{Meta: meta, Key: key}, bytes.Clone(issued.Chain[0])
	c.Key.Signer, _ = compact(key.Signer, der, issued.Leaf)
	c.setChain(der, issued.Leaf, tail)
	return c, nil
}

// setChain sets the chain and what is known of it. The leaf is given as DER and parsed.
func (c *Certificate) setChain(der []byte, leaf *x509.Certificate, above *tail) {
	c.Chain = append(append(make([][]byte, 0, 1+len(above.chain)), der), above.chain...)
	c.Serial = hex.EncodeToString(leaf.SerialNumber.Bytes())
	c.NotBefore, c.NotAfter, c.End = leaf.NotBefore, leaf.NotAfter, leaf.NotAfter
	for _, end := range above.ends {
		switch {
		case !end.time.After(c.Obtained):
			c.Ended = end.of
		case end.time.Before(c.End):
			c.End, c.EndOf = end.time, end.of
		}
	}
}

// SetSigner sets the key that was found by its reference, if the certificate is for it.
func (c *Certificate) SetSigner(signer crypto.Signer) error {
	leaf, err := x509.ParseCertificate(c.Chain[0])
	if err != nil {
		return fmt.Errorf("its certificate: %w", unreadable(err))
	}
	if !belongs(signer, leaf.PublicKey) {
		return errors.New("the key that its reference leads to is not the certificate's")
	}
	c.Key.Signer = signer
	return nil
}

// NewerThan reports whether c is to be served rather than other, which may be nil: the one obtained later, though it
// may end sooner. See [Newer].
func (c *Certificate) NewerThan(other *Certificate, now time.Time) bool {
	return other == nil || Newer(c.Obtained, other.Obtained, now)
}

// maxClockSkew is how far ahead the clock of a member of the fleet may be.
const maxClockSkew = 5 * time.Minute

// Newer reports whether the first of two times of [Meta].Obtained is the later one. One that lies in the future was noted by
// a wrong clock: what was obtained since is newer.
func Newer(a, b, now time.Time) bool {
	if ahead := IsAhead(a, now); ahead != IsAhead(b, now) {
		return !ahead
	}
	return a.After(b)
}

// IsAhead reports whether a time was noted by a clock that is further ahead than those of a fleet may be.
func IsAhead(t, now time.Time) bool { return t.After(now.Add(maxClockSkew)) }

// Same reports whether both are of one certificate.
func (c *Certificate) Same(other *Certificate) bool {
	return other != nil && bytes.Equal(c.Chain[0], other.Chain[0])
}
