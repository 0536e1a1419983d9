package record_test

import (
	"crypto/tls"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/everseal/everseal/certmanager/internal/record"
)

// A stored certificate can be read as other programs do.
func TestRecordIsReadable(t *testing.T) {
	file := filepath.Join(version1, record.CertificateKey(goldenIssuer, "example.com", "ecdsa-p256"))
	if _, err := tls.LoadX509KeyPair(file, file); err != nil {
		t.Errorf("crypto/tls can't read the record: %v", err)
	}
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		return // crypto/tls has read it; openssl is one more opinion where it is there
	}
	out, err := exec.Command(openssl, "x509", "-in", file, "-noout", "-ext", "subjectAltName").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "DNS:example.com") {
		t.Errorf("openssl says %s, %v", out, err)
	}
}
