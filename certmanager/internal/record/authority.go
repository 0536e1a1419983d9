package record

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
)

// An Authority is a CA that signs by itself: a root, which clients trust, and an intermediate below it, which signs.
type Authority struct {
	AuthorityMeta
	Root, Intermediate SigningCertificate
}

// AuthorityMeta is what the record says beside keys and certificates.
type AuthorityMeta struct {
	Permitted []string `json:"permitted,omitempty"` // domains and ranges of IP addresses that it may sign for; empty: all
	Excluded  []string `json:"excluded,omitempty"`  // of these those that it may not
}

// A SigningCertificate is a CA's certificate with its key.
type SigningCertificate struct {
	Key         Key
	Certificate *x509.Certificate
}

const (
	authorityHeader  = "everseal authority "
	authorityVersion = "1"
)

// Encode returns the record as it is stored.
func (a *Authority) Encode() ([]byte, error) {
	line, err := json.Marshal(a.AuthorityMeta)
	if err != nil {
		return nil, err
	}
	text := fmt.Appendf(nil, "%s%s %s\n", authorityHeader, authorityVersion, line)
	for _, part := range []SigningCertificate{a.Root, a.Intermediate} {
		if part.Key.Signer == nil || part.Certificate == nil {
			return nil, errors.New("the root or the intermediate lacks its private key or its certificate")
		}
		key, err := EncodeKey(part.Key.Signer)
		if err != nil {
			return nil, err
		}
		text = appendPEM(append(text, key...), [][]byte{part.Certificate.Raw})
	}
	return text, nil
}

// DecodeAuthority reads a stored record, and checks that keys and certificates belong together and that the root has signed
// the intermediate.
func DecodeAuthority(data []byte) (*Authority, error) {
	first, text, ended := bytes.Cut(data, []byte("\n"))
	rest, ours := bytes.CutPrefix(first, []byte(authorityHeader))
	version, encoded, _ := bytes.Cut(rest, []byte(" "))
	a := new(Authority)
	switch {
	case !ours || !ended:
		return nil, fmt.Errorf("its first line does not begin with %q, or is all there is", authorityHeader)
	case string(version) != authorityVersion:
		return nil, &VersionError{string(version)}
	case json.Unmarshal(encoded, &a.AuthorityMeta) != nil:
		return nil, errors.New("the JSON in its first line is damaged, or a member of it has the wrong type")
	}
	var err error
	if a.Root, text, err = decodeSigning(text); err != nil {
		return nil, fmt.Errorf("the root: %w", err)
	}
	if a.Intermediate, text, err = decodeSigning(text); err != nil {
		return nil, fmt.Errorf("the intermediate: %w", err)
	}
	if len(text) > 0 {
		return nil, errors.New("it has more than two keys and two certificates")
	}
	if a.Intermediate.Certificate.CheckSignatureFrom(a.Root.Certificate) != nil {
		return nil, errors.New("the intermediate is not signed by the root")
	}
	return a, nil
}

// decodeSigning reads the key and the certificate that the text begins with, and returns what is behind them.
func decodeSigning(text []byte) (s SigningCertificate, rest []byte, err error) {
	if s.Key.Signer, rest, err = decodeKey(text); err != nil {
		return SigningCertificate{}, nil, err
	}
	der, rest, err := decodeCertificate(rest)
	if err != nil {
		return SigningCertificate{}, nil, fmt.Errorf("its certificate: %w", err)
	}
	if s.Certificate, err = x509.ParseCertificate(der); err != nil {
		return SigningCertificate{}, nil, fmt.Errorf("its certificate: %w", unreadable(err))
	}
	if !belongs(s.Key.Signer, s.Certificate.PublicKey) {
		return SigningCertificate{}, nil, errors.New("its private key is that of another certificate")
	}
	return s, rest, nil
}
