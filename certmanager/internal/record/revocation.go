package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// A Revocation is what is kept of a certificate that is to be revoked, until the CA has done so.
type Revocation struct {
	Issuer      string // Issuer.ID
	Subject     string // as [SubjectName] has it
	KeyType     string // of the subject
	Certificate []byte // DER
	Key         Key    // the certificate's
	Reason      int    // RFC 5280 §5.3.1
	Replace     bool   // its successor is to be served first, if it is still managed
	Requested   time.Time
}

// RevocationPrefix is the prefix that lists the revocations.
const RevocationPrefix = "revocations"

// RevocationKey returns the storage key of the revocation of the issuer's certificate with the serial number, in hexadecimal:
// "revocations/<issuer>/<serial>".
func RevocationKey(issuer, serial string) string {
	return RevocationPrefix + "/" + issuer + "/" + serial
}

// A storedRevocation is version 1 of the record.
type storedRevocation struct {
	Version int    `json:"version"`
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"`
	KeyType string `json:"keyType"`
	storedKey
	Certificate []byte    `json:"certificate"`
	Reason      int       `json:"reason,omitempty"`
	Replace     bool      `json:"replace,omitempty"`
	Requested   time.Time `json:"requested"`
}

// Encode returns the record as it is stored.
func (r *Revocation) Encode() ([]byte, error) {
	key, err := r.Key.store()
	if err != nil {
		return nil, err
	}
	return json.Marshal(storedRevocation{1, r.Issuer, r.Subject, r.KeyType, key, r.Certificate, r.Reason, r.Replace, r.Requested})
}

// DecodeRevocation reads a stored record.
func DecodeRevocation(data []byte) (Revocation, error) {
	version, err := versionOf(data)
	if err != nil {
		return Revocation{}, err
	}
	var s storedRevocation
	switch {
	case version != 1:
		return Revocation{}, &VersionError{fmt.Sprint(version)}
	case json.Unmarshal(data, &s) != nil:
		return Revocation{}, errors.New("it is not the JSON of a revocation, or a member of it has the wrong type")
	case len(s.Certificate) == 0:
		return Revocation{}, errors.New("it has no certificate")
	}
	key, err := s.storedKey.load()
	if err != nil {
		return Revocation{}, err
	}
	return Revocation{s.Issuer, s.Subject, s.KeyType, s.Certificate, key, s.Reason, s.Replace, utc(s.Requested)}, nil
}
