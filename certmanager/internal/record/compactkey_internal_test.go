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
	der, err := marshalKey(key)
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
		leaf := &x509.Certificate{RawSubjectPublicKeyInfo: test.info}
		got, same := compact(key, test.der, leaf)
		if _, is := got.(*compactKey); is != test.compact || same != test.compact || !key.PublicKey.Equal(got.Public()) {
			t.Errorf("%s: it is a %T, the leaf's: %v", name, got, same)
		}
		read := parseCompactKey(der)
		before := *read
		if got, same := compact(read, test.der, leaf); same != test.compact || !key.PublicKey.Equal(got.Public()) || !key.Equal(expanded(t, read)) || *read != before {
			t.Errorf("%s: as it was read, it became a %T, the leaf's: %v", name, got, same)
		}
	}
}
