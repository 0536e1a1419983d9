package record

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// maxTails bounds the chains that are remembered. A CA has some; when there are more, all are forgotten, and those
	// that are in use are remembered again.
	maxTails = 256
	// maxChain bounds the certificates of a chain.
	maxChain = 64
)

// The Intermediates are the tails of chains: what is above their first certificate. Nearly all certificates of a CA
// have the same: it is read, checked and kept in memory once. The zero value is ready for use, by many at once; with nil
// nothing is shared.
type Intermediates struct {
	mu    sync.Mutex
	known map[string]*tail // by the text in PEM; guarded by mu
}

// A tail is not changed.
type tail struct {
	chain [][]byte // DER
	ends  []end    // of those that are to be watched
}

// An end is that of an intermediate.
type end struct {
	time time.Time
	of   string // the subject, fit for a log line
}

// read returns the tail that the text has. A known one costs a hash and a comparison of its bytes.
func (i *Intermediates) read(text []byte) (*tail, error) {
	if i == nil || len(text) == 0 {
		return readTail(text)
	}
	i.mu.Lock()
	known := i.known[string(text)]
	i.mu.Unlock()
	if known != nil {
		return known, nil
	}
	read, err := readTail(text)
	if err != nil {
		return nil, err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if known = i.known[string(text)]; known != nil {
		return known, nil
	}
	if i.known == nil || len(i.known) >= maxTails {
		i.known = make(map[string]*tail)
	}
	i.known[string(text)] = read
	return read, nil
}

// share returns the tail of a chain of DER. It refuses what is no certificate; the first is the caller's to check.
func (i *Intermediates) share(chain [][]byte) (*tail, error) {
	return i.read(appendPEM(nil, chain[1:]))
}

// appendPEM appends the certificates in PEM.
func appendPEM(text []byte, chain [][]byte) []byte {
	b := bytes.NewBuffer(text)
	for _, der := range chain {
		// Writing to a buffer does not fail.
		_ = pem.Encode(b, &pem.Block{Type: pemCertificate, Bytes: der})
	}
	return b.Bytes()
}

func readTail(text []byte) (*tail, error) {
	t := new(tail)
	for n := 2; len(text) > 0; n++ {
		if n > maxChain {
			return nil, fmt.Errorf("the chain has more than %d certificates", maxChain)
		}
		der, rest, err := decodeCertificate(text)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of the chain: %w", n, err)
		}
		parsed, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of the chain: %w", n, unreadable(err))
		}
		// A root at the end is the client's to judge, not part of the path (RFC 5280 §6.1).
		isRoot := len(rest) == 0 && bytes.Equal(parsed.RawSubject, parsed.RawIssuer)
		if !isRoot {
			t.ends = append(t.ends, end{parsed.NotAfter, printable(parsed.Subject.String(), 200)})
		}
		t.chain, text = append(t.chain, der), rest
	}
	return t, nil
}

// decodeCertificate returns the certificate that the text begins with, in DER of its own size, and the text behind it.
func decodeCertificate(text []byte) (der, rest []byte, err error) {
	label, content, rest, err := nextBlock(text)
	if err != nil {
		return nil, nil, err
	}
	if !bytes.Equal(label, []byte(pemCertificate)) {
		return nil, nil, errors.New("there is no certificate in PEM where it is expected")
	}
	if der, err = decodeBase64(content); err != nil {
		return nil, nil, errors.New("it is not base64")
	}
	return der, rest, nil
}
