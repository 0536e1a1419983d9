package main

import (
	"crypto/tls"
	"io"
	"net/smtp"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/everseal/everseal/examples/internal/program"
)

func TestMain(m *testing.M) { program.Main(m, main) }

// Mail comes by STARTTLS and over TLS, with the certificate that the CA has issued by http-01; a message that is under way when
// the server is told to end is taken.
func TestServer(t *testing.T) {
	plain, secure, web := program.Address(t), program.Address(t), program.Address(t)
	ca, trust, flags := program.StartCA(t, web)
	maildir := t.TempDir()
	server := program.Start(t, []string{trust}, append(flags,
		"-smtp", plain, "-smtps", secure, "-http", web, "-domain", "example.com", "-maildir", maildir, "localhost")...)
	server.Line("certificate obtained")
	config := &tls.Config{RootCAs: ca.Roots(), ServerName: "localhost"}

	conn, err := tls.Dial("tcp", secure, config)
	if err != nil {
		t.Fatal(err)
	}
	overTLS, err := smtp.NewClient(conn, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	finish(t, overTLS, begin(t, overTLS, "first"))
	expect(t, maildir, "first", "with ESMTPS")

	upgraded, err := smtp.Dial(plain)
	if err != nil {
		t.Fatal(err)
	}
	if err := upgraded.StartTLS(config); err != nil {
		t.Fatal(err)
	}
	if err := upgraded.Mail("alice@example.net"); err != nil {
		t.Error(err)
	}
	if err := upgraded.Rcpt("bob@example.org"); err == nil || !strings.Contains(err.Error(), "550") {
		t.Errorf("mail for another domain: %v, want 550", err)
	}
	if err := upgraded.Reset(); err != nil {
		t.Error(err)
	}
	message := begin(t, upgraded, "second")
	server.Signal(syscall.SIGTERM)
	server.Line("no new clients")
	finish(t, upgraded, message)
	expect(t, maildir, "second", "with ESMTPS")
	if status, said := server.End(); status != 0 {
		t.Errorf("the status is %d:\n%s", status, said)
	}
}

// Mail servers that name nobody in the handshake, which most are, get the certificate, too.
func TestOpenSSL(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("openssl is missing")
		}
		t.Skip("openssl is missing")
	}
	plain, secure, web := program.Address(t), program.Address(t), program.Address(t)
	ca, trust, flags := program.StartCA(t, web)
	root, _ := program.Trust(t, ca.RootPEM())
	server := program.Start(t, []string{trust}, append(flags,
		"-smtp", plain, "-smtps", secure, "-http", web, "-domain", "example.com", "-maildir", t.TempDir(), "localhost")...)
	server.Line("certificate obtained")
	for _, args := range [][]string{{"-connect", plain, "-starttls", "smtp"}, {"-connect", secure}} {
		cmd := exec.CommandContext(t.Context(), "openssl", append([]string{"s_client", "-noservername", "-CAfile", root,
			"-verify_return_error", "-verify_hostname", "localhost", "-brief", "-crlf", "-quiet"}, args...)...)
		cmd.Stdin = strings.NewReader("EHLO client.example.net\nQUIT\n")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "250") {
			t.Errorf("openssl %q: %v\n%s", args, err, out)
		}
	}
}

// begin begins a message.
func begin(t *testing.T, client *smtp.Client, word string) io.WriteCloser {
	t.Helper()
	if err := client.Mail("alice@example.net"); err != nil {
		t.Fatal(err)
	}
	if err := client.Rcpt("bob@example.com"); err != nil {
		t.Fatal(err)
	}
	message, err := client.Data()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(message, "Subject: "+word+"\r\n\r\nThis is the "+word+" message"); err != nil {
		t.Fatal(err)
	}
	return message
}

// finish sends the rest of it, and takes leave.
func finish(t *testing.T, client *smtp.Client, message io.WriteCloser) {
	t.Helper()
	if _, err := io.WriteString(message, ", whole.\r\n"); err != nil {
		t.Error(err)
	}
	if err := message.Close(); err != nil {
		t.Errorf("the message is not taken: %v", err)
	}
	if err := client.Quit(); err != nil {
		t.Error(err)
	}
}

// expect looks for one message that has all of the words, and for nothing half written.
func expect(t *testing.T, maildir, subject, received string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(maildir, "new", "*"))
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), received) && strings.Contains(string(text), "This is the "+subject+" message, whole.") {
			found++
		}
	}
	if found != 1 {
		t.Errorf("%d messages of %d are the %s one", found, len(files), subject)
	}
	if left, err := filepath.Glob(filepath.Join(maildir, "tmp", "*")); len(left) > 0 || err != nil {
		t.Errorf("there is left: %q, %v", left, err)
	}
}
