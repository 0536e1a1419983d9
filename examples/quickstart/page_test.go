package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// What a CA puts into a certificate reaches the page as text.
func TestPageEscapes(t *testing.T) {
	leaf := &x509.Certificate{
		DNSNames:     []string{"example.com", "<b>.example.com"},
		IPAddresses:  []net.IP{net.IPv4(192, 0, 2, 1)},
		Issuer:       pkix.Name{CommonName: "<script>alert(1)</script>"},
		SerialNumber: big.NewInt(0x1234),
		NotAfter:     time.Now().Add(30 * 24 * time.Hour),
	}
	all := []certmanager.Status{{Serial: "5678", Next: time.Now()}, {Serial: "1234", Next: time.Now().Add(20*24*time.Hour + time.Minute)}}
	var text bytes.Buffer
	if err := newPageTemplate().Execute(&text, newPageData(leaf, all)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"<dd>example.com, &lt;b&gt;.example.com, 192.0.2.1</dd>",
		"CN=\\&lt;script\\&gt;alert(1)\\&lt;/script\\&gt;",
		"<code>1234</code>",
		"in 20 days",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%s is not in the page:\n%s", want, text.String())
		}
	}
	if strings.Count(text.String(), "<script") != 1 || strings.Contains(text.String(), "<b>") {
		t.Errorf("the page holds markup from the certificate:\n%s", text.String())
	}
}

func TestUntil(t *testing.T) {
	now := time.Now()
	for want, at := range map[string]time.Time{
		"now":        now.Add(-time.Hour),
		"in 59m59s":  now.Add(time.Hour - 900*time.Millisecond),
		"in 89 days": now.Add(90*24*time.Hour - time.Minute),
	} {
		if got := until(at, now); got != want {
			t.Errorf("%v is %q, not %q", at.Sub(now), got, want)
		}
	}
}

func TestIsPlain(t *testing.T) {
	for path, want := range map[string]bool{
		"/home/me/.cache/everseal-quickstart/root.pem": true,
		"/tmp/a+b@c:1_2/root.pem":                      true,
		"/home/my self/root.pem":                       false,
		"/tmp/$HOME/root.pem":                          false,
		"/tmp/a'b/root.pem":                            false,
		"/tmp/*/root.pem":                              false,
		"~/root.pem":                                   false,
		"/tmp/größe/root.pem":                          false,
		"/tmp/a\nb/root.pem":                           false,
	} {
		if got := isPlain(path); got != want {
			t.Errorf("isPlain(%q) = %v", path, got)
		}
	}
}

func TestCurlCommandPassesProxiesBy(t *testing.T) {
	for _, name := range []string{"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"} {
		t.Setenv(name, "")
	}
	if got, want := curlCommand("/r", "https://localhost:1/"), "curl --cacert /r https://localhost:1/"; got != want {
		t.Errorf("%s, not %s", got, want)
	}
	t.Setenv("https_proxy", "http://proxy.example:3128")
	if got, want := curlCommand("/r", "https://localhost:1/"), "curl --cacert /r --noproxy localhost https://localhost:1/"; got != want {
		t.Errorf("%s, not %s", got, want)
	}
}

func TestWriteRootReportsFailure(t *testing.T) {
	if _, err := writeRoot(filepath.Join(t.TempDir(), "missing"), nil); !os.IsNotExist(err) {
		t.Errorf("the error is %v", err)
	}
}

// leafPEM returns a certificate that is no CA's, with its key.
func leafPEM(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})) +
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}))
}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	value, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func save(t *testing.T, folder, value string) {
	t.Helper()
	if _, err := storage.Dir(folder).Save(t.Context(), caKey, []byte(value), ""); err != nil {
		t.Fatal(err)
	}
}

func load(t *testing.T, folder string) string {
	t.Helper()
	item, err := storage.Dir(folder).Load(t.Context(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	return string(item.Value)
}
