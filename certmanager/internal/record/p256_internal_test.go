package record

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"testing"
)

// TestP256 compares what is written and read with package x509's, whole keys and damaged ones.
func TestP256(t *testing.T) {
	one, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), append(make([]byte, 31), 1))
	if err != nil {
		t.Fatal(err)
	}
	keys := []*ecdsa.PrivateKey{one}
	for range 20 {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	for _, key := range keys {
		want, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		if der, err := marshalKey(key); err != nil || !bytes.Equal(der, want) {
			t.Fatalf("it is written as %x, want %x, %v", der, want, err)
		}
		if read, compact := parseP256(want), parseCompactKey(want); !key.Equal(read) || compact == nil || !key.Equal(expanded(t, compact)) {
			t.Fatalf("%v and %v were read", read, compact)
		}
	}
	der, err := marshalKey(one)
	if err != nil {
		t.Fatal(err)
	}
	for i := range der {
		for _, changed := range [][]byte{flipped(der, i, 1), flipped(der, i, 0xff), der[:i], append(der[:len(der):len(der)], der[:i+1]...)} {
			read, compact := parseP256(changed), parseCompactKey(changed)
			if read == nil && compact == nil {
				continue // package x509 decides
			}
			if want, err := x509.ParsePKCS8PrivateKey(changed); err != nil || !read.Equal(want) || !expanded(t, compact).Equal(want) {
				t.Errorf("%x was read as a key, %v", changed, err)
			}
		}
	}
	for _, none := range [][]byte{make([]byte, 32), bytes.Repeat([]byte{0xff}, 32)} {
		point, err := one.PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if der := marshalP256(none, point); parseP256(der) != nil || parseCompactKey(der) != nil {
			t.Errorf("scalar %x was read as a key", none)
		}
	}
}

func expanded(t *testing.T, key *compactKey) *ecdsa.PrivateKey {
	t.Helper()
	private, err := key.expand()
	if err != nil {
		t.Fatal(err)
	}
	return private
}

func flipped(data []byte, at int, mask byte) []byte {
	data = bytes.Clone(data)
	data[at] ^= mask
	return data
}
