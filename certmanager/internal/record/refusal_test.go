package record_test

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"unicode"

	"github.com/everseal/everseal/certmanager/internal/record"
)

// wantRefusal fails the test unless the error says what it should, and nothing that it should not.
func wantRefusal(t *testing.T, err error, want string, secrets ...[]byte) {
	t.Helper()
	if err == nil {
		t.Errorf("nothing is refused, want an error with %q", want)
		return
	}
	text := err.Error()
	if !strings.Contains(text, want) {
		t.Errorf("the error is %q, want one with %q", text, want)
	}
	if len(text) > 1000 || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("the error is not fit for a log: %q", text)
	}
	for _, secret := range secrets {
		for _, form := range []string{string(secret), hex.EncodeToString(secret), base64.StdEncoding.EncodeToString(secret), fmt.Sprint(secret)} {
			if strings.Contains(text, form) {
				t.Errorf("the error shows %s", form)
			}
		}
	}
}

// block returns a block of PEM.
func block(label string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der}))
}

// unparsable returns a certificate with a URI that is none, which package x509 repeats in its error.
func unparsable(t *testing.T, ca *testCA) []byte {
	t.Helper()
	const uri = 6
	names, err := asn1.Marshal([]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: uri, Bytes: []byte("https://[" + strings.Repeat("x\x1b", 5000))}})
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(7), ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: names}}}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.parsed, ca.key.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestCertificateRefused(t *testing.T) {
	ca, key := newTestCA(t), newKey(t)
	sound := ca.record(t, key, "example.com")
	text := string(encode(t, sound))
	line, body, _ := strings.Cut(text, "\n")
	keyText, chainText := body[:strings.Index(body, "-----BEGIN CERT")], body[strings.Index(body, "-----BEGIN CERT"):]
	leafText := block("CERTIFICATE", sound.Chain[0])
	aboveText := strings.TrimPrefix(chainText, leafText)
	header := line + "\n"
	reference := strings.Replace(strings.Replace(line, "certificate 1", "certificate 2", 1), "{", `{"keyReference":"kms://7",`, 1) + "\n"
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	unsigning, err := x509.MarshalPKCS8PrivateKey(x25519)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	client := ca.sign(t, &x509.Certificate{SerialNumber: big.NewInt(7), DNSNames: []string{"example.com"}, NotBefore: begin, NotAfter: begin.AddDate(0, 0, 1),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, key.Public()).Raw
	secret := []byte(strings.Split(keyText, "\n")[1][20:40])

	other := string(encode(t, ca.record(t, newKey(t), "example.com")))
	for name, test := range map[string]struct{ text, want string }{
		"key of another":           {other[:strings.Index(other, "-----BEGIN CERT")] + chainText, "for another key"},
		"empty":                    {"", "first line"},
		"garbage":                  {"\x00\xff\x1b[31m\n", "first line"},
		"first line without end":   {line, "first line"},
		"another's header":         {"x" + text, "first line"},
		"version 3":                {strings.Replace(text, "certificate 1", "certificate 3", 1), `version "3" is not known`},
		"version without bounds":   {strings.Replace(text, "certificate 1", "certificate "+strings.Repeat("1\x1b", 5000), 1), "is not known"},
		"version 01":               {strings.Replace(text, "certificate 1", "certificate 01", 1), "is not known"},
		"no version":               {strings.Replace(text, "certificate 1", "certificate ", 1), "is not known"},
		"JSON damaged":             {strings.Replace(text, `{"issuer"`, `{issuer`, 1), "JSON in its first line"},
		"names that are a number":  {strings.Replace(text, `["example.com"]`, strings.Repeat("7", 5000), 1), "JSON in its first line"},
		"a time that is none":      {strings.Replace(text, `"obtained":"`, `"obtained":"\u001b`+strings.Repeat("x", 5000), 1), "JSON in its first line"},
		"reference in version 1":   {strings.Replace(text, "{", `{"keyReference":"kms://7",`, 1), "against its version"},
		"version 2, no reference":  {strings.Replace(header, "certificate 1", "certificate 2", 1) + chainText, "against its version"},
		"version 2 with a key":     {reference + body, "its certificate: there is no certificate in PEM"},
		"no key":                   {header + chainText, "there is no private key"},
		"nothing but a first line": {header, "its private key: a block of PEM does not begin"},
		"key behind certificate":   {header + leafText + keyText + aboveText, "there is no private key"},
		"key twice":                {header + keyText + keyText + chainText, "its certificate: there is no certificate"},
		"key behind the chain":     {text + keyText, "certificate 4 of the chain: there is no certificate"},
		"key of another kind":      {header + strings.ReplaceAll(keyText, "PRIVATE", "EC PRIVATE") + chainText, "there is no private key"},
		"key cut off":              {header + keyText[:60], "its private key: a block of PEM is cut off"},
		"key cut in its label":     {header + keyText[:20], "its private key: the first line of a block"},
		"key with another's end":   {header + strings.Replace(keyText, "END PRIVATE", "END PUBLIC", 1) + chainText, "is cut off or damaged"},
		"key not base64":           {header + strings.Replace(keyText, "\nM", "\n!", 1) + chainText, "its private key is not base64"},
		"key too long":             {header + block("PRIVATE KEY", make([]byte, 20<<10)) + chainText, "or too long"},
		"key not PKCS 8":           {header + block("PRIVATE KEY", public) + chainText, "not PKCS #8"},
		"key can't sign":           {header + block("PRIVATE KEY", unsigning) + chainText, "can't sign"},
		"no certificate":           {header + keyText, "its certificate: a block of PEM does not begin"},
		"certificate cut off":      {header + keyText + leafText[:200], "its certificate: a block of PEM is cut off"},
		"certificate not base64":   {header + keyText + strings.Replace(leafText, "\nM", "\n=", 1), "its certificate: it is not base64"},
		"no such certificate":      {header + keyText + block("CERTIFICATE", public), "its certificate: x509: "},
		"a name that is none":      {header + keyText + block("CERTIFICATE", unparsable(t, ca)), "its certificate: x509: "},
		"such a name above":        {text + block("CERTIFICATE", unparsable(t, ca)), "certificate 4 of the chain: x509: "},
		"for other names":          {string(encode(t, ca.record(t, key, "example.net"))), "does not name example.com"},
		"for clients":              {header + keyText + block("CERTIFICATE", client), "not for servers"},
		"text between":             {header + keyText + leafText + "more\n" + aboveText, "certificate 2 of the chain: a block of PEM does not begin"},
		"text behind":              {text + "more", "certificate 4 of the chain: a block of PEM does not begin"},
		"chain damaged":            {header + keyText + leafText + strings.Replace(aboveText, "\nM", "\n!", 1), "certificate 2 of the chain: it is not base64"},
		"chain of others":          {text + block("CERTIFICATE", public), "certificate 4 of the chain: x509: "},
		"chain too long":           {header + keyText + strings.Repeat(leafText, 65), "more than 64 certificates"},
	} {
		t.Run(name, func(t *testing.T) {
			if test.text == text {
				t.Fatal("nothing is changed")
			}
			_, err := record.DecodeCertificate([]byte(test.text), dns("example.com"), new(record.Intermediates))
			wantRefusal(t, err, test.want, secret)
			if version := new(record.VersionError); errors.As(err, &version) != strings.Contains(test.want, "not known") {
				t.Errorf("the error is %#v", err)
			}
		})
	}
	if _, err := record.DecodeCertificate([]byte(header+keyText+strings.Repeat(leafText, 64)), dns("example.com"), new(record.Intermediates)); err != nil {
		t.Errorf("64 certificates: %v", err)
	}
	if _, err := record.DecodeCertificate([]byte(strings.ReplaceAll(text, "-----\n", "-----\r\n\n")), dns("example.com"), new(record.Intermediates)); err != nil {
		t.Errorf("with white space between the blocks: %v", err)
	}
}
