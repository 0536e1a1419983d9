package record

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/everseal/everseal/acme"
)

const certificateHeader = "everseal certificate "

// Versions of the certificate's record.
const (
	versionKeyHere      = "1"
	versionKeyElsewhere = "2"
)

// A certificateLine is the JSON in the first line.
type certificateLine struct {
	Meta
	KeyReference string `json:"keyReference,omitempty"` // of version 2
}

// Encode returns the record as it is stored: of version 2 if its key has a reference, else of version 1.
func (c *Certificate) Encode() ([]byte, error) {
	version, key := versionKeyElsewhere, []byte(nil)
	if c.Key.Reference == "" {
		if c.Key.Signer == nil {
			return nil, errors.New("the certificate has no private key, nor a reference to one")
		}
		var err error
		if key, err = EncodeKey(c.Key.Signer); err != nil {
			return nil, err
		}
		version = versionKeyHere
	}
	line, err := json.Marshal(certificateLine{c.Meta, c.Key.Reference})
	if err != nil {
		return nil, err
	}
	return appendPEM(fmt.Appendf(nil, "%s%s %s\n%s", certificateHeader, version, line, key), c.Chain), nil
}

// setUTC sets the times to UTC: another zone would be kept in memory with each of them.
func (m *Meta) setUTC() {
	if m.Obtained = utc(m.Obtained); m.Obtained.Year() < 1970 || m.Obtained.Year() > 2261 {
		m.Obtained = time.Unix(0, 0).UTC() // no clock said so; what fits into 64 bits of nanoseconds can be compared
	}
	for i := range m.Validations {
		m.Validations[i].Validated = utc(m.Validations[i].Validated)
	}
}

// DecodeCertificate reads a stored record and checks that key and certificate belong together, that all of the chain
// are certificates, and that the first is for servers and names the identifiers, of the subject. An expired one is
// no error: it shows what there was. With a reference in place of the key, whoever sets the key has it checked by
// SetSigner. Nothing of data is kept; what is above the leaf is shared, unless shared is nil.
func DecodeCertificate(data []byte, identifiers []acme.Identifier, shared *Intermediates) (*Certificate, error) {
	line, text, err := splitFirstLine(data)
	if err != nil {
		return nil, err
	}
	c := &Certificate{Meta: line.Meta, Key: Key{Reference: line.KeyReference}}
	c.setUTC()
	if line.KeyReference == "" {
		if c.Key.Signer, text, err = decodeCertificateKey(text); err != nil {
			return nil, err
		}
	}
	der, text, err := decodeCertificate(text)
	if err != nil {
		return nil, fmt.Errorf("its certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("its certificate: %w", unreadable(err))
	}
	public := leaf.PublicKey
	if c.Key.Signer != nil {
		var same bool
		if c.Key.Signer, same = compact(c.Key.Signer, der, leaf); !same {
			public = c.Key.Public()
		}
	}
	if err := (&acme.Certificate{Leaf: leaf}).Verify(public, identifiers, leaf.NotBefore); err != nil {
		return nil, err
	}
	tail, err := shared.read(text)
	if err != nil {
		return nil, err
	}
	c.setChain(der, leaf, tail)
	return c, nil
}

// splitFirstLine returns what the first line says, with a reference to the key exactly if the version has one, and the
// text behind it.
func splitFirstLine(data []byte) (line certificateLine, text []byte, err error) {
	first, text, ended := bytes.Cut(data, []byte("\n"))
	rest, ours := bytes.CutPrefix(first, []byte(certificateHeader))
	version, encoded, _ := bytes.Cut(rest, []byte(" "))
	switch {
	case !ours || !ended:
		return line, nil, fmt.Errorf("its first line does not begin with %q, or is all there is", certificateHeader)
	case string(version) != versionKeyHere && string(version) != versionKeyElsewhere:
		return line, nil, &VersionError{string(version)}
	case json.Unmarshal(encoded, &line) != nil:
		return line, nil, errors.New("the JSON in its first line is damaged, or a member of it has the wrong type")
	}
	if (string(version) == versionKeyElsewhere) != (line.KeyReference != "") {
		return line, nil, errors.New("its first line has a reference to the key, or lacks it, against its version")
	}
	return line, text, nil
}

// ObtainedAt reports whether data is the record of a certificate with that [Meta].Obtained: a part of what [Obtained] costs,
// for who mostly knows it.
func ObtainedAt(data []byte, at time.Time) bool {
	first, _, _ := bytes.Cut(data, []byte("\n"))
	return bytes.HasPrefix(first, []byte(certificateHeader)) && bytes.Contains(first, at.UTC().AppendFormat([]byte(`"obtained":"`), time.RFC3339Nano+`"`))
}

// Obtained returns [Meta].Obtained of the record of a certificate, and whether data is one. It looks at the first line alone.
func Obtained(data []byte) (obtained time.Time, ok bool) {
	line, _, err := splitFirstLine(data)
	line.setUTC()
	return line.Obtained, err == nil
}

// IsOnDemand reports whether data is the record of a certificate that was obtained on demand. It looks at the first line
// alone.
func IsOnDemand(data []byte) bool {
	line, _, err := splitFirstLine(data)
	return err == nil && line.OnDemand
}
