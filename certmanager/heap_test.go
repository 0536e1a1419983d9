package certmanager

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"runtime"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
)

// A testChain makes certificates below two others.
type testChain struct {
	above [][]byte // DER
	key   *ecdsa.PrivateKey
	last  *x509.Certificate
	made  int64
}

func newTestChain(tb testing.TB) *testChain {
	tb.Helper()
	c := new(testChain)
	for range 2 {
		_, der := c.sign(tb, "a CA", true)
		c.above = append([][]byte{der}, c.above...)
	}
	return c
}

// sign returns a certificate for the name by the last CA, and its key. It becomes that CA if it is one.
func (c *testChain) sign(tb testing.TB, name string, isCA bool) (*ecdsa.PrivateKey, []byte) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	c.made++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(c.made), Subject: pkix.Name{CommonName: name}, IsCA: isCA, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
	}
	if !isCA {
		template.DNSNames = []string{name}
		template.Subject = pkix.Name{}
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	parent, signer := c.last, c.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		tb.Fatal(err)
	}
	if isCA {
		if c.last, err = x509.ParseCertificate(der); err != nil {
			tb.Fatal(err)
		}
		c.key = key
	}
	return key, der
}

// record returns the stored form of a certificate for the name.
func (c *testChain) record(tb testing.TB, name string) []byte {
	tb.Helper()
	key, der := c.sign(tb, name, false)
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	meta := record.Meta{Issuer: "an issuer", Names: []string{name}, KeyType: string(ECDSAP256), Obtained: time.Now().UTC()}
	r, err := record.New(meta, record.Key{Signer: key}, &acme.Certificate{Leaf: leaf, Chain: append([][]byte{der}, c.above...)}, nil)
	if err != nil {
		tb.Fatal(err)
	}
	encoded, err := r.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	return encoded
}

func subjectOf(name string) *subject {
	return &subject{identifiers: []acme.Identifier{{Type: acme.TypeDNS, Value: name}}, keyTypes: []KeyType{ECDSAP256}}
}

// BenchmarkMemory has 100,000 certificates in memory, as they are read from the storage, whose renewals wait in the queue, and
// reports what one takes of the heap: B/cert, beside B/leaf, the length of its DER.
func BenchmarkMemory(b *testing.B) {
	const n = 100_000
	chain := newTestChain(b)
	records := make(map[string][]byte, n)
	for i := range n {
		name := fmt.Sprintf("site-%06d.example.com", i)
		records[name] = chain.record(b, name)
	}
	for b.Loop() {
		m, err := New(Config{Issuers: []Issuer{&ACME{DirectoryURL: "https://ca.example.com/directory"}}, Storage: new(storage.Memory)})
		if err != nil {
			b.Fatal(err)
		}
		before, leaves := heap(), 0
		subjects := make([]subject, 0, n)
		for name := range records {
			subjects = append(subjects, *subjectOf(name))
		}
		added, err := m.catalogue.add(subjects)
		if err != nil {
			b.Fatal(err)
		}
		for _, c := range added {
			r, err := m.obtainer.archive.decode(records[c.identifiers[0].Value], &c.subject)
			if err != nil {
				b.Fatal(err)
			}
			leaves += len(r.Chain[0])
			c.offer(r)
		}
		m.dispatcher.Update(added...)
		subjects, added = nil, nil
		b.ReportMetric(float64(heap()-before)/n, "B/cert")
		b.ReportMetric(float64(leaves)/n, "B/leaf")
		runtime.KeepAlive(m)
	}
}

// BenchmarkMemoryEvicted has a million names known, of which 100,000 certificates are kept in memory, and reports what the
// heap has in all, and for a name with nothing else known of it.
func BenchmarkMemoryEvicted(b *testing.B) {
	const known, kept, various = 1_000_000, 100_000, 1000
	chain := newTestChain(b)
	records := make([][]byte, various)
	for i := range records {
		records[i] = chain.record(b, "example.com")
	}
	for b.Loop() {
		m, err := New(Config{Issuers: []Issuer{&ACME{DirectoryURL: "https://ca.example.com/directory"}}, Storage: new(storage.Memory), MaxLoaded: kept})
		if err != nil {
			b.Fatal(err)
		}
		before := heap()
		subjects := make([]subject, known)
		for i := range subjects {
			subjects[i] = *subjectOf(fmt.Sprintf("site-%07d.example.com", i))
		}
		added, err := m.catalogue.add(subjects)
		if err != nil {
			b.Fatal(err)
		}
		subjects = nil
		example := subjectOf("example.com")
		all := heap() - before
		var r *record.Certificate
		for i, e := range added {
			if i == 0 || i >= known-kept { // what is evicted leaves nothing of its record
				if r, err = m.obtainer.archive.decode(records[i%various], example); err != nil {
					b.Fatal(err)
				}
			}
			e.offer(r)
			e.progress.loaded()
			m.obtainer.residents.add(e)
		}
		m.dispatcher.Update(added...)
		added, r = nil, nil
		if n := m.Stats().Loaded; n != kept {
			b.Fatalf("%d are in memory", n)
		}
		total := heap() - before
		b.ReportMetric(float64(total)/(1<<20), "MiB")
		b.ReportMetric(float64(all)/known, "B/known")
		runtime.KeepAlive(m)
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
