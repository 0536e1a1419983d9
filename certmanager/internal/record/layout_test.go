package record_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
)

// The names are a format: what is stored is found by them.
func TestSubjectName(t *testing.T) {
	for _, test := range []struct {
		names []string
		want  string
	}{
		{nil, ""},
		{[]string{"example.com"}, "example.com"},
		{[]string{"*.example.com"}, "*.example.com"},
		{[]string{"2001:db8::1"}, "2001:db8::1"},
		{[]string{"192.0.2.7", "example.org", "www.example.org"}, "192.0.2.7+2-efcf3a08d1847c4f"},
		{[]string{"www.example.org", "192.0.2.7", "example.org"}, "192.0.2.7+2-efcf3a08d1847c4f"},
		{[]string{"example.org", "192.0.2.7", "www.example.org", "example.org"}, "192.0.2.7+2-efcf3a08d1847c4f"},
		{[]string{"example.com", "example.com"}, "example.com"},
	} {
		given := slices.Clone(test.names)
		if got := record.SubjectName(test.names); got != test.want || !slices.Equal(given, test.names) {
			t.Errorf("%v: %q, want %q; then %v", given, got, test.want, test.names)
		}
	}
}

func TestKeysOfRecords(t *testing.T) {
	value := []byte("damaged")
	certificate := record.CertificateKey("ca.example.com-01234567", "example.com", "ecdsa-p256")
	for _, test := range []struct{ got, want string }{
		{certificate, "certificates/ca.example.com-01234567/example.com/ecdsa-p256"},
		{record.CertificatePrefix("ca.example.com-01234567"), "certificates/ca.example.com-01234567"},
		{record.WorkKey("ca", "example.com", "rsa-2048"), "work/ca/example.com/rsa-2048"},
		{record.AccountKey("ca", ""), "accounts/ca/default"},
		{record.AccountKey("ca", "kid-1"), "accounts/ca/external-db26d710b41ea1dc"},
		{record.CorruptKey(certificate, value), "corrupt/41f0c27c00e8018f/" + certificate},
	} {
		if test.got != test.want {
			t.Errorf("%s, want %s", test.got, test.want)
		}
		if err := storage.CheckKey(test.got); err != nil {
			t.Error(err)
		}
	}
	if record.CorruptKey(certificate, value) == record.CorruptKey(certificate, value[1:]) {
		t.Error("another value would replace the copy of the first")
	}
}

// The longest names make keys that a storage accepts.
func TestLongestKeys(t *testing.T) {
	label := strings.Repeat("a", 63)
	longest := strings.Join([]string{label, label, label, label[:61]}, ".")
	names := []string{longest}
	for range 99 {
		names = append(names, "z"+names[0][1:])
	}
	names = append(names, "y"+longest[1:])
	issuer := strings.Repeat("i", 64) + "-01234567"
	key := record.CertificateKey(issuer, record.SubjectName(names), "ecdsa-p256")
	if err := storage.CheckKey(record.CorruptKey(key, nil)); err != nil || len(longest) != 253 {
		t.Errorf("%d bytes: %v", len(longest), err)
	}
}

func TestParseCertificateKey(t *testing.T) {
	key := record.CertificateKey("ca", "*.example.com+2-0123456789abcdef", "rsa-2048")
	if issuer, subject, keyType, ok := record.ParseCertificateKey(key); !ok || record.CertificateKey(issuer, subject, keyType) != key || issuer != "ca" {
		t.Errorf("%s is read as %q, %q, %q, %t", key, issuer, subject, keyType, ok)
	}
	for _, key := range []string{"", "certificates", "certificates/ca/example.com", "certificates/ca/example.com/rsa-2048/more",
		"certificates//example.com/rsa-2048", "certificates/ca/example.com/", "work/ca/example.com/rsa-2048", "/ca/example.com/rsa-2048"} {
		if issuer, subject, keyType, ok := record.ParseCertificateKey(key); ok || issuer+subject+keyType != "" {
			t.Errorf("%q is read as the key of a certificate", key)
		}
	}
}
