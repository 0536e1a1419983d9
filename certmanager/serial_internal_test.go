package certmanager

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"math/big"
	"testing"
)

// certificateWith returns a certificate in DER with the serial number.
func certificateWith(t testing.TB, serial *big.Int) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: serial}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// Serial numbers are what crypto/x509 finds, also those that DER begins with a zero, and what is cut off has none.
func TestSerialOf(t *testing.T) {
	for _, serial := range []*big.Int{big.NewInt(1), big.NewInt(0x7f), big.NewInt(0x80), new(big.Int).Lsh(big.NewInt(1), 158), new(big.Int).Lsh(big.NewInt(0xff), 144)} {
		der := certificateWith(t, serial)
		parsed, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := serialOf(der), hex.EncodeToString(parsed.SerialNumber.Bytes()); got != want {
			t.Errorf("%q, want %q", got, want)
		}
		for end := range der {
			if got := serialOf(der[:end]); got != "" {
				t.Fatalf("%q of the first %d octets", got, end)
			}
		}
	}
	for _, der := range [][]byte{nil, {0x30}, {0x30, 0x84, 1, 1, 1, 1}, {0x30, 0x80, 0x30, 0}, {0x30, 2, 0x31, 0}, {0x30, 0x83, 0xff, 0xff, 0xff}, {0x30, 4, 0x30, 2, 0xa0, 0}} {
		if got := serialOf(der); got != "" {
			t.Errorf("%x: %q", der, got)
		}
	}
}

func BenchmarkSerialOf(b *testing.B) {
	der := certificateWith(b, new(big.Int).Lsh(big.NewInt(1), 158))
	for b.Loop() {
		serialOf(der)
	}
}
