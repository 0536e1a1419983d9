package certmanager

import (
	"crypto/tls"
	"time"

	"github.com/everseal/everseal/certmanager/internal/record"
)

// A served is what handshakes for an entry's names get. It is not changed once it is published.
type served struct {
	tls.Certificate // first: what a handshake reads
	facts
}

// Facts are what is told of a certificate.
type facts struct {
	issuer     string // Issuer.ID
	obtained   int64  // nanoseconds since 1970
	begin      int64  // NotBefore of the leaf, seconds since 1970
	notAfter   int64  // the first NotAfter of the chain, seconds since 1970
	validated  int64  // when control of a name was proved first, seconds since 1970; 0: not known
	endOf      string // subject of the intermediate that ends before the leaf; empty: the leaf ends first
	challenges proofs // by which it was proved
	imported   bool
	copied     int64 // when the local copy was made that this is of, seconds since 1970; 0: it is what the storage has
}

// newServed returns the record as crypto/tls serves it. A server never reads Leaf.
func newServed(r *record.Certificate) *served {
	s, chain := beside(len(r.Chain))
	copy(chain, r.Chain)
	s.Certificate = tls.Certificate{Certificate: chain, PrivateKey: r.Key.Signer}
	s.facts = factsOf(r)
	return s
}

func factsOf(r *record.Certificate) facts {
	challenges, validated := proofsOf(r.Validations)
	return facts{r.Issuer, r.Obtained.UnixNano(), r.NotBefore.Unix(), r.End.Unix(), validated, r.EndOf, challenges, r.Imported, 0}
}

// beside returns a served and room for a chain of n certificates, for the usual ones in the memory just before it: among a
// million names a handshake waits for each place of memory that it reads.
func beside(n int) (*served, [][]byte) {
	switch n {
	case 1:
		s := new(struct {
			chain [1][]byte
			served
		})
		return &s.served, s.chain[:]
	case 2:
		s := new(struct {
			chain [2][]byte
			served
		})
		return &s.served, s.chain[:]
	case 3:
		s := new(struct {
			chain [3][]byte
			served
		})
		return &s.served, s.chain[:]
	}
	return new(served), make([][]byte, n)
}

func (f *facts) obtainedAt() time.Time { return time.Unix(0, f.obtained) }

func (f *facts) end() time.Time { return time.Unix(f.notAfter, 0).UTC() }

// serial returns the serial number in hexadecimal, as CAs show it.
func (s *served) serial() string { return serialOf(s.Certificate.Certificate[0]) }
