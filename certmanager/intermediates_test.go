package certmanager

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/everseal/everseal/acme"
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
	meta := recordMeta{Issuer: "an issuer", Names: []string{name}, KeyType: ECDSAP256, Obtained: time.Now().UTC()}
	encoded, err := newRecord(meta, key, append([][]byte{der}, c.above...), leaf).encode()
	if err != nil {
		tb.Fatal(err)
	}
	return encoded
}

func subjectOf(name string) *subject {
	return &subject{identifiers: []acme.Identifier{{Type: acme.TypeDNS, Value: name}}, keyType: ECDSAP256}
}

// Certificates of one CA share what is above them, and nothing of the text that they were read from is kept.
func TestIntermediatesAreShared(t *testing.T) {
	o, chain := new(obtainer), newTestChain(t)
	var first *record
	for i := range 3 {
		name := fmt.Sprintf("site-%d.example.com", i)
		r, err := o.decodeRecord(chain.record(t, name), subjectOf(name))
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = r
		}
		if len(r.chain) != 3 || cap(r.chain[0]) > len(r.chain[0])+64 {
			t.Errorf("%d certificates; the leaf has %d bytes of %d", len(r.chain), len(r.chain[0]), cap(r.chain[0]))
		}
		for n := range chain.above {
			if !bytes.Equal(r.chain[n+1], chain.above[n]) || unsafe.SliceData(r.chain[n+1]) != unsafe.SliceData(first.chain[n+1]) {
				t.Errorf("certificate %d above is another, or a copy", n+1)
			}
		}
	}
	other := newTestChain(t).record(t, "other.example.com")
	if r, err := o.decodeRecord(other, subjectOf("other.example.com")); err != nil || bytes.Equal(r.chain[1], chain.above[0]) {
		t.Errorf("another CA's chain is taken for the first one's: %v", err)
	}
}

// Chains that share bytes, but not certificates, are different; those without number are not all remembered.
func TestIntermediatesAreBounded(t *testing.T) {
	var known intermediates
	chain := newTestChain(t)
	leaf := chain.above[0]
	for i := range maxIntermediates + 10 {
		_, der := chain.sign(t, fmt.Sprintf("CA %d", i), false)
		if shared, err := known.share([][]byte{leaf, der}); err != nil || !bytes.Equal(shared[1], der) {
			t.Fatalf("%v", err)
		}
	}
	if n := len(known.known); n > maxIntermediates {
		t.Errorf("%d chains are remembered", n)
	}
	for range 2 { // what was refused is not remembered as checked
		if _, err := known.share([][]byte{leaf, chain.above[0], []byte("none")}); err == nil || !strings.Contains(err.Error(), "certificate 3 of the chain") {
			t.Errorf("error %v, want one about certificate 3", err)
		}
	}
	if shared, err := known.share([][]byte{leaf}); err != nil || len(shared) != 1 {
		t.Errorf("a chain of one: %d, %v", len(shared), err)
	}
}

// BenchmarkMemory has 10,000 certificates in memory, as they are read from the storage, and reports what one takes of
// the heap: B/cert, beside B/leaf, the length of its DER.
func BenchmarkMemory(b *testing.B) {
	const n = 10_000
	chain := newTestChain(b)
	records := make(map[string][]byte, n)
	for i := range n {
		name := fmt.Sprintf("site-%06d.example.com", i)
		records[name] = chain.record(b, name)
	}
	for b.Loop() {
		m, err := New(Config{CA: "https://ca.example.com/directory", Storage: new(storage.Memory)})
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
			r, err := m.obtainer.decodeRecord(records[c.identifiers[0].Value], &c.subject)
			if err != nil {
				b.Fatal(err)
			}
			leaves += len(r.chain[0])
			c.offer(r)
		}
		subjects, added = nil, nil
		b.ReportMetric(float64(heap()-before)/n, "B/cert")
		b.ReportMetric(float64(leaves)/n, "B/leaf")
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
