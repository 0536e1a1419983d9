package record

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"
)

// newAuthority returns the certificate of a CA, in DER.
func newAuthority(tb testing.TB, name string) []byte {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Unix(1<<32, 0)}
	issuer := &x509.Certificate{Subject: pkix.Name{CommonName: "Root"}}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	return der
}

// The same tail is one in memory, whichever way it comes; what it came in is not kept.
func TestIntermediatesAreShared(t *testing.T) {
	var shared Intermediates
	leaf := []byte("a leaf")
	above := [][]byte{newAuthority(t, "A"), newAuthority(t, "B")}
	text := appendPEM(nil, above)
	first, err := shared.read(text)
	if err != nil || len(first.chain) != 2 || !bytes.Equal(first.chain[1], above[1]) || first.ends[0].of != "CN=A" {
		t.Fatalf("%+v, %v", first, err)
	}
	for n, der := range first.chain {
		if cap(der) > len(der)+2 {
			t.Errorf("certificate %d has %d bytes of %d", n+2, len(der), cap(der))
		}
	}
	clear(text)
	if again, err := shared.read(appendPEM(nil, above)); err != nil || again != first {
		t.Errorf("it is read again: %v", err)
	}
	if again, err := shared.share(append([][]byte{leaf}, above...)); err != nil || again != first {
		t.Errorf("that of a chain is another: %v", err)
	}
	for _, other := range [][][]byte{nil, {above[0]}, {above[1], above[0]}, {above[0], above[1], above[1]}} {
		if tail, err := shared.share(append([][]byte{leaf}, other...)); err != nil || tail == first || len(tail.chain) != len(other) {
			t.Errorf("of %d: %v, %v", len(other), tail, err)
		}
	}
	var none *Intermediates
	if tail, err := none.read(appendPEM(nil, above)); err != nil || len(tail.chain) != 2 {
		t.Errorf("with none: %v, %v", tail, err)
	}
	if len(shared.known) != 4 {
		t.Errorf("%d are remembered, want 4", len(shared.known))
	}
}

// Those without number are not all remembered, and what was refused is not remembered as checked.
func TestIntermediatesAreBounded(t *testing.T) {
	var shared Intermediates
	der := newAuthority(t, "A")
	for i := range maxTails + 10 {
		text := append(appendPEM(nil, [][]byte{der}), strings.Repeat("\n", i)...)
		if tail, err := shared.read(text); err != nil || !bytes.Equal(tail.chain[0], der) {
			t.Fatal(err)
		}
	}
	if n := len(shared.known); n > maxTails || n == 0 {
		t.Errorf("%d are remembered", n)
	}
	for range 2 {
		if tail, err := shared.share([][]byte{der, der, []byte("none")}); tail != nil || err == nil || !strings.Contains(err.Error(), "certificate 3 of the chain") {
			t.Errorf("%v, error %v, want one about certificate 3", tail, err)
		}
	}
}

// Those that many read at once for the first time are shared too.
func TestIntermediatesConcurrently(t *testing.T) {
	text := appendPEM(nil, [][]byte{newAuthority(t, "A")})
	for range 100 {
		var shared Intermediates
		var group sync.WaitGroup
		tails, begin := make([]*tail, 8), make(chan struct{})
		for i := range tails {
			group.Go(func() {
				<-begin
				tails[i], _ = shared.read(text)
			})
		}
		close(begin)
		group.Wait()
		for _, read := range tails {
			if read != tails[0] || read == nil {
				t.Fatalf("%p and %p", read, tails[0])
			}
		}
	}
}

// A known tail is found without a copy of its text.
func TestKnownIntermediatesAllocate(t *testing.T) {
	var shared Intermediates
	text := appendPEM(nil, [][]byte{newAuthority(t, "A"), newAuthority(t, "B")})
	if n := testing.AllocsPerRun(100, func() {
		if _, err := shared.read(text); err != nil {
			t.Error(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// The subject of a certificate is a hostile CA's to choose.
func TestSubjectIsBounded(t *testing.T) {
	read, err := readTail(appendPEM(nil, [][]byte{newAuthority(t, strings.Repeat("é\n\x1b", 500))}))
	if err != nil || len(read.ends[0].of) > 200 || strings.ContainsAny(read.ends[0].of, "\n\x1b") || !strings.HasPrefix(read.ends[0].of, "CN=é") {
		t.Errorf("%+v, %v", read, err)
	}
}
