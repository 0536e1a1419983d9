package certmanager

import (
	"crypto"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/record"
)

// some returns a random choice of the values, in random order.
func some[T any](random *rand.Rand, all []T) []T {
	chosen := slices.Clone(all)
	random.Shuffle(len(chosen), func(i, j int) { chosen[i], chosen[j] = chosen[j], chosen[i] })
	return chosen[:random.IntN(len(chosen)+1)]
}

// randomHello returns a hello as a client of TLS 1.2 or 1.3 may send it.
func randomHello(random *rand.Rand) *tls.ClientHelloInfo {
	suites := slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites())
	ids := make([]uint16, len(suites))
	for i, suite := range suites {
		ids[i] = suite.ID
	}
	versions := [][]uint16{{tls.VersionTLS13}, {tls.VersionTLS13, tls.VersionTLS12}, {tls.VersionTLS12, tls.VersionTLS11}, {tls.VersionTLS12}}
	schemes := []tls.SignatureScheme{tls.PSSWithSHA256, tls.PSSWithSHA384, tls.PSSWithSHA512, tls.PKCS1WithSHA256, tls.PKCS1WithSHA384, tls.PKCS1WithSHA512,
		tls.PKCS1WithSHA1, tls.ECDSAWithSHA1, tls.ECDSAWithP256AndSHA256, tls.ECDSAWithP384AndSHA384, tls.ECDSAWithP521AndSHA512, tls.Ed25519}
	points := [][]uint8{nil, {0}, {1, 0}, {1, 2}}
	return &tls.ClientHelloInfo{
		SupportedVersions: versions[random.IntN(len(versions))],
		SignatureSchemes:  some(random, schemes),
		SupportedCurves:   some(random, []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521}),
		CipherSuites:      some(random, ids),
		SupportedPoints:   points[random.IntN(len(points))],
	}
}

// TestUnderstoodBy compares with what crypto/tls finds out.
func TestUnderstoodBy(t *testing.T) {
	const seed, hellos = 7, 20_000
	random := rand.New(rand.NewPCG(seed, seed))
	for _, kind := range []KeyType{ECDSAP256, ECDSAP384, RSA2048} {
		key, err := newKeyring(nil, nil, 1).generate(t.Context(), kind)
		if err != nil {
			t.Fatal(err)
		}
		certificate := &tls.Certificate{PrivateKey: struct{ crypto.Signer }{key}} // no crypto.Decrypter: servers do not offer RSA key exchange
		understood := 0
		for range hellos {
			hello := randomHello(random)
			if len(hello.SignatureSchemes) == 0 {
				continue // SupportsCertificate takes what the handshake then refuses
			}
			wants := hello.SupportsCertificate(certificate)
			if is := kind.algorithm().understoodBy(hello); is != (wants == nil) {
				t.Fatalf("%s: %v, though crypto/tls says %v: %+v", kind, is, wants, hello)
			}
			if wants == nil {
				understood++
			}
		}
		if understood < hellos/20 || understood > hellos*19/20 {
			t.Errorf("%s: %d of %d hellos understand it: too few, or too many, to tell anything", kind, understood, hellos)
		}
	}
}

// An entry that serves several kinds of key, for tests that obtain none.
func newServedEntry(kinds ...KeyType) *entry {
	e := newEntry(subject{identifiers: []acme.Identifier{{Type: acme.TypeDNS, Value: "example.com"}}, keyTypes: kinds}, managed)
	for a := range familyOf(e).all() {
		a.roles.set(used)
		a.served.Store(&served{Certificate: tls.Certificate{Certificate: [][]byte{[]byte(a.keyType())}}})
	}
	return e
}

// A client is served with the first kind of key that it understands, which allocates nothing.
func TestChoice(t *testing.T) {
	modern := &tls.ClientHelloInfo{SupportedVersions: []uint16{tls.VersionTLS13}, SignatureSchemes: []tls.SignatureScheme{tls.PSSWithSHA256, tls.ECDSAWithP256AndSHA256}}
	old := &tls.ClientHelloInfo{SupportedVersions: []uint16{tls.VersionTLS12}, SignatureSchemes: []tls.SignatureScheme{tls.PKCS1WithSHA256},
		SupportedCurves: []tls.CurveID{tls.CurveP256}, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA}}
	for _, test := range []struct {
		kinds []KeyType
		hello *tls.ClientHelloInfo
		want  KeyType
	}{
		{[]KeyType{ECDSAP256, RSA2048}, modern, ECDSAP256},
		{[]KeyType{ECDSAP256, RSA2048}, old, RSA2048},
		{[]KeyType{RSA2048, ECDSAP256}, modern, RSA2048},
		{[]KeyType{ECDSAP384, ECDSAP256, RSA2048}, modern, ECDSAP256},
		{[]KeyType{ECDSAP256}, old, ECDSAP256}, // there is no other, and crypto/tls tells the client so
	} {
		t.Run(fmt.Sprint(test.kinds, test.want), func(t *testing.T) {
			e := newServedEntry(test.kinds...)
			var got *tls.Certificate
			if n := testing.AllocsPerRun(100, func() { got = e.certificateFor(test.hello) }); n != 0 {
				t.Errorf("%v allocations", n)
			}
			if got == nil || string(got.Certificate[0]) != string(test.want) {
				t.Errorf("served with %v", got)
			}
		})
	}
	if c := newServedEntry(ECDSAP256, ECDSAP384).certificateFor(old); c != nil {
		t.Error("served with what the client does not understand, before it is seen whether there is nothing better")
	}
}

// While the first kind of key has no certificate, or an expired one, the next is served as if it were the first.
func TestChoiceWithoutTheFirst(t *testing.T) {
	hello := clientHello(t)
	e := newServedEntry(ECDSAP256, RSA2048)
	first := e.served.Load()
	for name, lose := range map[string]func(){
		"no certificate": func() { e.served.Store(nil) },
		"an expired one": func() { e.roles.set(late) }, // its end is long ago
	} {
		e.served.Store(first)
		e.roles.unset(late)
		if c := e.certificateFor(hello); c != &first.Certificate {
			t.Fatalf("served with %v, though there is the first", c)
		}
		lose()
		if c := e.certificateFor(hello); c != &e.alternative.served.Load().Certificate {
			t.Errorf("%s: served with %v", name, c)
		}
	}
}

// BenchmarkChoice measures what a second kind of key costs a handshake.
func BenchmarkChoice(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 1))
	hellos := make([]*tls.ClientHelloInfo, 64)
	for i := range hellos {
		hellos[i] = randomHello(random)
	}
	for _, kinds := range [][]KeyType{{ECDSAP256}, {ECDSAP256, RSA2048}} {
		b.Run(fmt.Sprintf("kinds=%d", len(kinds)), func(b *testing.B) {
			e := newServedEntry(kinds...)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				e.certificateFor(hellos[i&63])
				i++
			}
		})
	}
}

// An alternative that comes when its entry has been evicted does not take the entry's place in the catalogue.
func TestAlternativeOfWhatWasEvicted(t *testing.T) {
	var c catalogue
	s := *subjectOf("example.com")
	s.keyTypes = []KeyType{ECDSAP256, RSA2048}
	first := newEntry(s, onDemand)
	if !c.adopt(first) || !first.alternative.roles.has(managed) {
		t.Fatal("it is not managed")
	}
	c.evict(first)
	o := obtainer{catalogue: &c, lines: lines{func(...*entry) {}}}
	if o.adopt(first.alternative); c.lookup("example.com") != nil {
		t.Error("the alternative is managed by itself")
	}
	if o.adopt(first); c.lookup("example.com") != first || !first.alternative.roles.has(managed) {
		t.Error("the entry is not managed again with its alternative")
	}
}

// A client that understands both is not served what has expired, if the certificate with the other kind of key has not.
func TestExpiredIsChosenLast(t *testing.T) {
	s := *subjectOf("example.com")
	s.keyTypes = []KeyType{ECDSAP256, RSA2048}
	e, hello, now := newEntry(s, managed), clientHello(t), time.Now()
	e.offer(&record.Certificate{Chain: [][]byte{nil}, Meta: record.Meta{Obtained: now.AddDate(0, -4, 0)}, NotBefore: now.AddDate(0, -4, 0), End: now.Add(-time.Hour)})
	if familyOf(e).choose(hello) != e {
		t.Error("the expired one is not chosen, though there is no other")
	}
	e.alternative.offer(certificateFor90Days())
	if familyOf(e).choose(hello) != e.alternative {
		t.Error("an expired one is chosen")
	}
	if n := testing.AllocsPerRun(10, func() { familyOf(e).choose(hello) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
