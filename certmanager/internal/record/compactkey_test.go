package record_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"testing"

	"github.com/everseal/everseal/certmanager/internal/record"
)

// A key in its own form is the key that it was made from: what it signs, is and is written as.
func TestCompactKey(t *testing.T) {
	ca, key := newTestCA(t), newKey(t)
	issued := ca.record(t, key, "example.com")
	read, err := record.DecodeCertificate(encode(t, issued), dns("example.com"), new(record.Intermediates))
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte("a message"))
	want, err := key.Sign(nil, digest[:], crypto.SHA256) // RFC 6979: the same each time
	if err != nil {
		t.Fatal(err)
	}
	for name, signer := range map[string]crypto.Signer{"issued": issued.Key.Signer, "read": read.Key.Signer} {
		if _, ordinary := signer.(*ecdsa.PrivateKey); ordinary {
			t.Errorf("%s: it is in package ecdsa's form", name)
		}
		if !key.PublicKey.Equal(signer.Public()) {
			t.Errorf("%s: its public key is %v", name, signer.Public())
		}
		if got, err := signer.Sign(nil, digest[:], crypto.SHA256); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: it signs %x, want %x, %v", name, got, want, err)
		}
		if got, err := signer.Sign(rand.Reader, digest[:], crypto.SHA256); err != nil || !ecdsa.VerifyASN1(&key.PublicKey, digest[:], got) || bytes.Equal(got, want) {
			t.Errorf("%s: it signs %x at random, %v", name, got, err)
		}
		if text := fmt.Sprintf("%v %+v %#v %d", signer, signer, signer, signer); text != "(a private key) (a private key) (a private key) (a private key)" {
			t.Errorf("%s: it is shown as %s", name, text)
		}
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if value := encode(t, read); !bytes.Contains(value, []byte(block("PRIVATE KEY", der))) || !bytes.Equal(value, encode(t, issued)) {
		t.Errorf("it is written as\n%s", value)
	}
	damage(read.Chain[0], &key.PublicKey)
	if signature, err := read.Key.Sign(nil, digest[:], crypto.SHA256); err == nil || read.Key.Public() != nil {
		t.Errorf("with a public key that is none it signs %x", signature)
	}
	if _, err := read.Encode(); err == nil {
		t.Error("with a public key that is none it is written")
	}
}

// damage changes a byte of the public key in the certificate.
func damage(der []byte, public *ecdsa.PublicKey) {
	point, err := public.Bytes()
	if err != nil {
		panic(err) // it was made here
	}
	der[bytes.Index(der, point)+10] ^= 1
}

// Keys of other kinds stay as they are.
func TestOtherKeys(t *testing.T) {
	ca := newTestCA(t)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []crypto.Signer{p384, newRSAKey(t), struct{ crypto.Signer }{newKey(t)}} {
		if c := ca.record(t, key, "example.com"); c.Key.Signer != key {
			t.Errorf("%T became %T", key, c.Key.Signer)
		}
	}
}

// BenchmarkHandshake is a handshake of client and server in memory, with a key in its own form and in package ecdsa's.
func BenchmarkHandshake(b *testing.B) {
	ca, key := newTestCA(b), newKey(b)
	c := ca.record(b, key, "example.com")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for name, signer := range map[string]crypto.Signer{"compact": c.Key.Signer, "ecdsa": key} {
			server := &tls.Config{Certificates: []tls.Certificate{{Certificate: c.Chain, PrivateKey: signer}}, MaxVersion: version, SessionTicketsDisabled: true}
			b.Run(tls.VersionName(version)+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					handshake(b, server)
				}
			})
		}
	}
}

func handshake(tb testing.TB, config *tls.Config) {
	tb.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	done := make(chan error, 1)
	go func() { done <- tls.Server(a, config).Handshake() }()
	client := tls.Client(b, &tls.Config{ServerName: "example.com", InsecureSkipVerify: true})
	if err := client.Handshake(); err != nil {
		tb.Fatal(err)
	}
	if err := <-done; err != nil {
		tb.Fatal(err)
	}
}

// A server can use it in each version of TLS that has certificates for it.
func TestHandshake(t *testing.T) {
	c := newTestCA(t).record(t, newKey(t), "example.com")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		handshake(t, &tls.Config{Certificates: []tls.Certificate{{Certificate: c.Chain, PrivateKey: c.Key.Signer}}, MaxVersion: version})
	}
}
