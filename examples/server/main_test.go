package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/everseal/everseal/examples/internal/program"
)

func TestMain(m *testing.M) { program.Main(m, main) }

// The CA, which has no client certificate, validates; clients get in with one alone; and what is under way when the server is
// told to end is answered.
func TestServer(t *testing.T) {
	address := program.Address(t)
	ca, trust, flags := program.StartCA(t, address)
	clientCA := newAuthority(t)
	file := filepath.Join(t.TempDir(), "clients.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: clientCA.Leaf.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	server := program.Start(t, []string{trust}, append(flags, "-listen", address, "-clients", file, "localhost")...)
	server.Line("certificate obtained")

	url := "https://localhost" + address[strings.LastIndex(address, ":"):] + "/"
	stranger := client(t, &tls.Config{RootCAs: ca.Roots()})
	if answer, err := stranger.Get(url); err == nil {
		t.Errorf("a client without a certificate: %s", answer.Status)
	} else if !strings.Contains(err.Error(), "certificate required") {
		t.Errorf("a client without a certificate: %v", err)
	}
	forged := client(t, &tls.Config{RootCAs: ca.Roots(), Certificates: []tls.Certificate{newAuthority(t).sign(t, "alice")}})
	if answer, err := forged.Get(url); err == nil {
		t.Errorf("a client with another CA's certificate: %s", answer.Status)
	}

	alice := client(t, &tls.Config{RootCAs: ca.Roots(), Certificates: []tls.Certificate{clientCA.sign(t, "alice")}})
	body, sent := io.Pipe()
	read := make(chan struct{})
	request, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got100Continue: func() { close(read) },
	}), http.MethodPost, url, body)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Expect", "100-continue")
	answered := make(chan string, 1)
	go func() { answered <- text(alice.Do(request)) }()
	<-read
	server.Signal(syscall.SIGTERM)
	server.Line("no new connections")
	for deadline := time.Now().Add(time.Minute); ; { // the listener is closed a moment later
		conn, err := net.Dial("tcp", address)
		if err != nil {
			break
		}
		conn.Close()
		if time.Now().After(deadline) {
			t.Fatal("the server takes new connections for a minute after it was told to end")
		}
	}
	if _, err := io.WriteString(sent, "what was under way"); err != nil {
		t.Error(err)
	}
	sent.Close()
	if got, want := <-answered, "Hello, alice: these were 18 bytes.\n"; got != want {
		t.Errorf("the answer is %q, want %q", got, want)
	}
	if status, said := server.End(); status != 0 {
		t.Errorf("the status is %d:\n%s", status, said)
	}
}

// What is wrong is said before anything is ordered.
func TestRefusal(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args []string
		want string
	}{
		{nil, "name the domains"},
		{[]string{"-agree", "-preflight", "none", "example.com"}, "Preflight"},
		{[]string{"-agree", "-clients", empty, "example.com"}, "empty.pem has no certificate in PEM"},
		{[]string{"-agree", "-listen", "127.0.0.1:none", "example.com"}, "unknown port"},
	} {
		args := append([]string{"-storage", t.TempDir(), "-listen", "127.0.0.1:0"}, test.args...)
		if status, said := program.Start(t, nil, args...).End(); status != 1 || !strings.Contains(said, test.want) {
			t.Errorf("%q: status %d, %q, want %q", test.args, status, said, test.want)
		}
	}
}

// client returns a client that makes a connection for each request.
func client(t *testing.T, config *tls.Config) *http.Client {
	transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true, ExpectContinueTimeout: time.Minute}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// text returns what the server has answered, or why it has not.
func text(answer *http.Response, err error) string {
	if err != nil {
		return err.Error()
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err.Error()
	}
	return string(body)
}

// An authority signs clients' certificates.
type authority struct{ tls.Certificate }

func newAuthority(t *testing.T) authority {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Clients' CA"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	return authority{certify(t, template, template, key, key)}
}

// sign returns a client's certificate with its key.
func (a authority) sign(t *testing.T, name string) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	return certify(t, template, a.Leaf, newKey(t), a.PrivateKey.(*ecdsa.PrivateKey))
}

func certify(t *testing.T, template, issuer *x509.Certificate, key, signer *ecdsa.PrivateKey) tls.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
