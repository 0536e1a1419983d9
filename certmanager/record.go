package certmanager

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/everseal/everseal/acme"
)

// A record is a certificate as it is stored: one text with metadata, key and chain, so that no reader
// ever sees a key that does not match its certificate. Its first line is
//
//	everseal certificate 1 {"issuer":"…","names":["example.com"],…}
//
// and PEM follows: the key (PKCS #8), the leaf, the rest of the chain. Tools that read PEM pass over
// the first line.
type record struct {
	meta  recordMeta
	key   crypto.Signer
	chain [][]byte // DER, leaf first
	leaf  *x509.Certificate
}

// recordMeta is what a record says besides key and chain.
type recordMeta struct {
	Issuer   string    `json:"issuer"`        // Issuer.ID
	Names    []string  `json:"names"`         // of the subject
	KeyType  KeyType   `json:"keyType"`       // of the subject
	URL      string    `json:"url,omitempty"` // where the CA keeps the certificate
	Obtained time.Time `json:"obtained"`      // UTC
	OnDemand bool      `json:"onDemand,omitempty"`
}

const recordHeader = "everseal certificate 1 "

// encode returns the record as it is stored.
func (r *record) encode() ([]byte, error) {
	meta, err := json.Marshal(r.meta)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString(recordHeader)
	b.Write(meta)
	b.WriteByte('\n')
	key, err := encodeKey(r.key)
	if err != nil {
		return nil, err
	}
	b.WriteString(key)
	b.Write((&acme.Certificate{Chain: r.chain}).PEM())
	return b.Bytes(), nil
}

// decodeRecord reads a stored record and checks that its key and its certificate belong together.
func decodeRecord(data []byte) (*record, error) {
	line, rest, ok := bytes.Cut(data, []byte("\n"))
	meta, ours := bytes.CutPrefix(line, []byte(recordHeader))
	if !ok || !ours {
		return nil, fmt.Errorf("its first line does not begin with %q", strings.TrimSpace(recordHeader))
	}
	r := new(record)
	if err := json.Unmarshal(meta, &r.meta); err != nil {
		return nil, fmt.Errorf("its first line: %w", err)
	}
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		switch block.Type {
		case "CERTIFICATE":
			r.chain = append(r.chain, block.Bytes)
		case pemKey:
			key, err := parseKey(block)
			if err != nil {
				return nil, err
			}
			r.key = key
		}
	}
	if r.key == nil || len(r.chain) == 0 {
		return nil, errors.New("its key or its certificate is missing")
	}
	leaf, err := x509.ParseCertificate(r.chain[0])
	if err != nil {
		return nil, fmt.Errorf("its certificate: %w", err)
	}
	if err := checkChain(r.chain); err != nil {
		return nil, err
	}
	if public, ok := r.key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(leaf.PublicKey) {
		return nil, errors.New("its key is not the certificate's")
	}
	r.leaf = leaf
	return r, nil
}

// fits reports what keeps the record from being used for the subject. An expired one fits: it shows
// what there was.
func (r *record) fits(s *subject) error {
	c := acme.Certificate{Leaf: r.leaf}
	return c.Verify(r.key.Public(), s.identifiers, r.leaf.NotBefore)
}

// certificate returns the record as crypto/tls serves it.
func (r *record) certificate() *tls.Certificate {
	return &tls.Certificate{Certificate: r.chain, PrivateKey: r.key, Leaf: r.leaf}
}

// checkChain reports whether all of a chain are certificates.
func checkChain(chain [][]byte) error {
	for i, der := range chain {
		if _, err := x509.ParseCertificate(der); err != nil {
			return fmt.Errorf("certificate %d of the chain: %w", i+1, err)
		}
	}
	return nil
}

// newerThan reports whether r is to be served rather than other, which may be nil: the one obtained
// later, though it may end sooner.
func (r *record) newerThan(other *record) bool {
	return other == nil || r.meta.Obtained.After(other.meta.Obtained)
}

// same reports whether both are of one certificate.
func (r *record) same(other *record) bool { return other != nil && r.leaf.Equal(other.leaf) }

// serial returns the serial number as CAs show it.
func (r *record) serial() string { return fmt.Sprintf("%x", r.leaf.SerialNumber.Bytes()) }

const pemKey = "PRIVATE KEY"

// encodeKey returns the key as PKCS #8 in PEM.
func encodeKey(key crypto.Signer) (string, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", fmt.Errorf("certmanager: a key of type %T can't be stored: %w", key, err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: der})), nil
}

// decodeKey reads what encodeKey wrote. Its errors do not show what it could not read.
func decodeKey(text string) (crypto.Signer, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != pemKey {
		return nil, errors.New("it holds no private key in PEM")
	}
	return parseKey(block)
}

func parseKey(block *pem.Block) (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("its private key is not PKCS #8")
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("its private key can't sign")
	}
	return signer, nil
}
