package peers

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/storage"
)

// A childConfig says what a server in a process of its own serves.
type childConfig struct {
	Directory string // URL of the CA's
	Trust     []byte // the certificate of the CA's own server, DER
	Storage   string // folder
	Name      string
	Others    []string    // more names, to have a certificate each
	HTTP01    bool        // http-01 is used; otherwise tls-alpn-01
	DNS01     *nameServer // by which dns-01 is answered, which is used then
	Webroot   string      // document root of another server, which answers http-01 then
	Responder *zoneMember // by which dns-01 is answered, which is used then
}

// runChild is such a server. It tells its parent on standard output: "listening", with its two addresses, then
// "serial" with the serial number of each certificate that it serves. It ends when the parent does.
func runChild(encoded string) error {
	var config childConfig
	if err := json.Unmarshal([]byte(encoded), &config); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	settings := config.manager()
	ended := make(chan error, 4)
	if config.Responder != nil {
		responder := config.Responder.responder(settings.Storage)
		settings.Solvers = []acme.Solver{config.Responder.solver(responder)}
		go func() { ended <- responder.Run(ctx) }()
	}
	m, err := certmanager.New(settings)
	if err != nil {
		return err
	}
	secure, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() { ended <- http.Serve(m.Listener(secure), http.HandlerFunc(page)) }()
	go func() { ended <- http.Serve(plain, m.HTTPHandler(nil)) }()
	fmt.Println("listening", secure.Addr(), plain.Addr())
	go func() { ended <- m.Run(ctx) }()
	return <-ended
}

func (c childConfig) manager() certmanager.Config {
	trusted := x509.NewCertPool()
	if certificate, err := x509.ParseCertificate(c.Trust); err == nil {
		trusted.AddCert(certificate)
	}
	config := certmanager.Config{
		Names:        append([]string{c.Name}, c.Others...),
		Issuers:      []certmanager.Issuer{&certmanager.ACME{DirectoryURL: c.Directory, HTTPClient: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}}}}},
		AgreeToTerms: true,
		Preflight:    certmanager.PreflightOff, // the name is in no DNS but the CA's
		Storage:      storage.Dir(c.Storage),
		Logger:       slog.New(slog.NewTextHandler(os.Stderr, nil)),
		OnEvent: func(e certmanager.Event) {
			if e.Kind == certmanager.EventObtained || e.Kind == certmanager.EventLoaded {
				fmt.Println("serial", e.Serial)
			}
		},
	}
	if c.HTTP01 {
		config.Solvers = []acme.Solver{&solver.HTTP01{Storage: config.Storage}}
	}
	if c.DNS01 != nil {
		config.Solvers = []acme.Solver{&solver.DNS01{Provider: c.DNS01, DNS: c.DNS01.dns()}}
	}
	if c.Webroot != "" {
		config.Solvers = []acme.Solver{&solver.Webroot{Dir: c.Webroot}}
	}
	return config
}

// A child is a server in a process of its own, to which the CA's ports lead.
type child struct {
	command *exec.Cmd
	stdin   io.Closer
	lines   <-chan string
	address string // of the HTTPS server
	plain   string // of the HTTP server
}

func startChild(t *testing.T, p *pebble, config childConfig) *child {
	t.Helper()
	encoded, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{command: exec.Command(self)}
	c.command.Env = append(os.Environ(), childVariable+"="+string(encoded))
	c.command.Stderr = t.Output()
	if c.stdin, err = c.command.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := c.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.command.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 10)
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(stdout); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	c.lines = lines
	if _, err := fmt.Sscan(c.says(t, "listening"), &c.address, &c.plain); err != nil {
		t.Fatal(err)
	}
	p.tls.lead(c.address)
	if config.Webroot == "" {
		p.http.lead(c.plain)
	}
	return c
}

// says returns what the child says next, which must be of the kind.
func (c *child) says(t *testing.T, kind string) string {
	t.Helper()
	select {
	case line := <-c.lines:
		text, ok := strings.CutPrefix(line, kind+" ")
		if !ok {
			c.kill(t)
			t.Fatalf("the server said %q, want %q", line, kind)
		}
		return text
	case <-time.After(patience):
		c.kill(t)
		t.Fatalf("the server did not say %q within %v", kind, patience)
	}
	return ""
}

// kill ends the child without giving it a chance to do anything, and waits for its end.
func (c *child) kill(t *testing.T) {
	t.Helper()
	if err := c.command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for range c.lines {
		// Read to the end, as Wait wants.
	}
	c.wait(t)
}

// wait waits for the child's end.
func (c *child) wait(t *testing.T) {
	t.Helper()
	var exit *exec.ExitError
	if err := c.command.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
}

// writePEM writes a certificate to a file that programs read.
func writePEM(t *testing.T, name string, der []byte) {
	t.Helper()
	encoded := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(name, encoded, 0o600); err != nil {
		t.Fatal(err)
	}
}
