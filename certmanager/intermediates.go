package certmanager

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"slices"
	"sync"
)

// maxIntermediates bounds the chains that are remembered. A CA has some; when there are more, all are forgotten, and
// those that are in use are remembered again.
const maxIntermediates = 256

// The intermediates are the parts of chains above their first certificate. Nearly all certificates of a CA have the
// same: they are checked, and kept in memory, once. The zero value is ready for use.
type intermediates struct {
	mu    sync.Mutex
	known map[[sha256.Size]byte][][]byte
}

// share returns the chain, of DER, in as little memory as it takes: the first certificate in its own size, the others
// as they are known already. It refuses what is no certificate; the first is the caller's to check.
func (i *intermediates) share(chain [][]byte) ([][]byte, error) {
	shared := make([][]byte, 1, len(chain))
	shared[0] = bytes.Clone(chain[0])
	if len(chain) == 1 {
		return shared, nil
	}
	hash := sha256.New()
	for _, der := range chain[1:] {
		fmt.Fprintf(hash, "%d ", len(der))
		hash.Write(der)
	}
	key := [sha256.Size]byte(hash.Sum(nil))
	i.mu.Lock()
	defer i.mu.Unlock()
	known, ok := i.known[key]
	if !ok {
		for n, der := range chain[1:] {
			if _, err := x509.ParseCertificate(der); err != nil {
				return nil, fmt.Errorf("certificate %d of the chain: %w", n+2, err)
			}
			known = append(known, bytes.Clone(der))
		}
		if i.known == nil || len(i.known) >= maxIntermediates {
			i.known = make(map[[sha256.Size]byte][][]byte)
		}
		i.known[key] = known
	}
	return slices.Concat(shared, known), nil
}
