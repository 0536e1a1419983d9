package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
	process "github.com/everseal/everseal/examples/internal/program"
)

// programVariable makes the test's binary the program itself.
const programVariable = "EVERSEAL_ACMETEST"

func TestMain(m *testing.M) {
	if os.Getenv(programVariable) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A program is the CA as a process of its own.
type program struct {
	t         *testing.T
	directory string // URL
	said      []string
	kill      func()
}

// start runs the program in a folder until it has said what there is to know.
func start(t *testing.T, folder string, args ...string) *program {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), programVariable+"=1")
	cmd.Dir, cmd.Stderr = folder, t.Output()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &program{t: t, kill: sync.OnceFunc(func() {
		cancel()
		_ = cmd.Wait() // it was killed
	})}
	t.Cleanup(p.kill)
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		p.said = append(p.said, lines.Text())
		if strings.Contains(lines.Text(), "--ca-bundle") { // the last one
			break
		}
	}
	for _, line := range p.said {
		if url, ok := strings.CutPrefix(line, "The directory is "); ok {
			p.directory = url
			return p
		}
	}
	t.Fatalf("the program has not said where the directory is: %q", p.said)
	return nil
}

// client returns a client that trusts what the file has.
func (p *program) client(rootFile string) *acme.Client {
	p.t.Helper()
	pem, err := os.ReadFile(rootFile)
	if err != nil {
		p.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) || strings.Contains(string(pem), "PRIVATE") {
		p.t.Fatalf("%s holds %s", rootFile, pem)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	p.t.Cleanup(transport.CloseIdleConnections)
	return &acme.Client{DirectoryURL: p.directory, HTTPClient: &http.Client{Transport: transport}, Key: newKey(p.t)}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// A webServer answers http-01, as some other program's does.
type webServer struct{ answers sync.Map }

func (*webServer) Type() string { return acme.TypeHTTP01 }

func (s *webServer) Present(_ context.Context, p acme.Proof) error {
	s.answers.Store(p.Token, p.KeyAuthorization)
	return nil
}

func (*webServer) CleanUp(context.Context, acme.Proof) error { return nil }

func (s *webServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer, _ := s.answers.Load(path.Base(r.URL.Path))
	text, _ := answer.(string)
	_, _ = io.WriteString(w, text)
}

// serve returns the port that the web server got.
func (s *webServer) serve(t *testing.T) (port string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: s}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	_, port, err = net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// A client in another process goes the whole way, through the faults that it was told of; and after a restart the CA is
// the same.
func TestProcess(t *testing.T) {
	folder, web := t.TempDir(), new(webServer)
	rootFile := filepath.Join(folder, "root.pem")
	_, port, err := net.SplitHostPort(process.Address(t)) // which no client gets while the program is away
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, folder, "-addr", "localhost:"+port, "-root", "root.pem", "-http-port", web.serve(t), "-lifetime", "1h", "-retry-after", "1s",
		"-fault", "newOrder:next=1:problem=403/unauthorized", "-fault", "certificate:next=1:cut-answer")
	client := p.client(rootFile)
	account, err := client.Register(t.Context(), acme.Registration{AgreeToTerms: true})
	if err != nil {
		t.Fatal(err)
	}
	request := acme.Request{
		Identifiers: []acme.Identifier{{Type: acme.TypeDNS, Value: "example.com"}, {Type: acme.TypeDNS, Value: "localhost"}},
		Key:         newKey(t), Solvers: []acme.Solver{web},
	}
	if _, err := client.Issue(t.Context(), request); !errors.Is(err, acme.ErrUnauthorized) {
		t.Errorf("the first order: %v, want that it is refused as the flag says", err)
	}
	certificate, err := client.Issue(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	if lifetime := certificate.Leaf.NotAfter.Sub(certificate.Leaf.NotBefore); lifetime != time.Hour {
		t.Errorf("the certificate lasts %v, want 1h", lifetime)
	}
	root, err := os.ReadFile(rootFile)
	if err != nil {
		t.Fatal(err)
	}

	p.kill()
	again := start(t, folder, "-addr", "localhost:"+port, "-root", "root.pem")
	if again.directory != p.directory {
		t.Errorf("the directory is %s after the restart, %s before", again.directory, p.directory)
	}
	known := again.client(rootFile)
	known.Key = client.Key
	found, err := known.FindAccount(t.Context())
	if err != nil || found.URL != account.URL {
		t.Errorf("after the restart: account %+v, %v", found, err)
	}
	if kept, err := os.ReadFile(rootFile); err != nil || string(kept) != string(root) {
		t.Errorf("another root after the restart (%v): %s", err, kept)
	}
}

// The command that the program shows is right.
func TestCurl(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("curl is missing")
		}
		t.Skip("curl is missing")
	}
	folder := t.TempDir()
	p := start(t, folder, "-addr", "localhost:0")
	for _, line := range p.said {
		if args := strings.Fields(line); len(args) > 0 && args[0] == "curl" {
			cmd := exec.CommandContext(t.Context(), "curl", append([]string{"-sS", "--noproxy", "*"}, args[1:]...)...)
			cmd.Dir, cmd.Stderr = folder, t.Output()
			out, err := cmd.Output()
			if err != nil || !strings.Contains(string(out), `"newOrder"`) {
				t.Errorf("%s: %v, %s", line, err, out)
			}
			return
		}
	}
	t.Errorf("no curl command is shown: %q", p.said)
}
