package record

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"testing"
)

// What does not end with the key's point, as a CA may write it, is no reason to sign with another.
func TestCompactKeyElsewhere(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	info, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		der, info []byte
		compact   bool
	}{
		"alone":                {info, info, true},
		"within":               {bytes.Join([][]byte{[]byte("before"), info, []byte("behind")}, nil), info, true},
		"with more behind":     {append(info, 0), append(info, 0), false},
		"with much behind":     {append(info, info[:66]...), append(info, info[:66]...), false},
		"not there":            {[]byte("a certificate"), info, false},
		"shorter than a point": {info[:10], info[:10], false},
	} {
		got := compact(key, test.der, &x509.Certificate{RawSubjectPublicKeyInfo: test.info})
		if _, is := got.(*compactKey); is != test.compact || !key.PublicKey.Equal(got.Public()) {
			t.Errorf("%s: it is a %T", name, got)
		}
	}
}
