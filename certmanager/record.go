package certmanager

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
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

	// Of the leaf, which is not kept: parsed, it takes more memory than all the rest.
	serial              string // as CAs show it
	notBefore, notAfter time.Time
}

// newRecord returns a record of a chain whose first certificate is leaf.
func newRecord(meta recordMeta, key crypto.Signer, chain [][]byte, leaf *x509.Certificate) *record {
	return &record{
		meta: meta, key: key, chain: chain,
		serial: hexadecimal(leaf.SerialNumber), notBefore: leaf.NotBefore, notAfter: leaf.NotAfter,
	}
}

func hexadecimal(serial *big.Int) string { return hex.EncodeToString(serial.Bytes()) }

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

// decodeRecord reads a stored record and checks that its key and its certificate belong together, and are what the
// subject wants. An expired one is: it shows what there was.
func (o *obtainer) decodeRecord(data []byte, s *subject) (*record, error) {
	line, rest, ok := bytes.Cut(data, []byte("\n"))
	encoded, ours := bytes.CutPrefix(line, []byte(recordHeader))
	if !ok || !ours {
		return nil, fmt.Errorf("its first line does not begin with %q", strings.TrimSpace(recordHeader))
	}
	var meta recordMeta
	if err := json.Unmarshal(encoded, &meta); err != nil {
		return nil, fmt.Errorf("its first line: %w", err)
	}
	key, chain, err := decodePEM(rest)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return nil, fmt.Errorf("its certificate: %w", err)
	}
	if err := (&acme.Certificate{Leaf: leaf}).Verify(key.Public(), s.identifiers, leaf.NotBefore); err != nil {
		return nil, err
	}
	if chain, err = o.intermediates.share(chain); err != nil {
		return nil, err
	}
	return newRecord(meta, key, chain, leaf), nil
}

// decodePEM returns the key and the chain, of at least one, that the text has.
func decodePEM(text []byte) (key crypto.Signer, chain [][]byte, err error) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		switch block.Type {
		case "CERTIFICATE":
			chain = append(chain, block.Bytes)
		case pemKey:
			if key, err = parseKey(block); err != nil {
				return nil, nil, err
			}
		}
	}
	if key == nil || len(chain) == 0 {
		return nil, nil, errors.New("its key or its certificate is missing")
	}
	return key, chain, nil
}

// newerThan reports whether r is to be served rather than other, which may be nil: the one obtained
// later, though it may end sooner.
func (r *record) newerThan(other *record) bool {
	return other == nil || r.meta.Obtained.After(other.meta.Obtained)
}

// same reports whether both are of one certificate.
func (r *record) same(other *record) bool {
	return other != nil && bytes.Equal(r.chain[0], other.chain[0])
}

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
