package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/everseal/everseal/acme/acmetest"
)

// programVariable makes the test's binary the program itself.
const programVariable = "EVERSEAL_PROXY"

func TestMain(m *testing.M) {
	if os.Getenv(programVariable) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A program is the proxy as a process of its own, with a CA that finds all names at it.
type program struct {
	t       *testing.T
	ca      *acmetest.Server
	root    string // the file of the CA's root certificate
	folder  string
	address string // of HTTPS
	plain   string // of HTTP
	cmd     *exec.Cmd
	log     output
	ended   chan struct{}
}

// start starts the proxy with these arguments beside those that every test needs, and returns when it listens.
func start(t *testing.T, args ...string) *program {
	t.Helper()
	p := &program{t: t, ca: acmetest.NewServer(), folder: t.TempDir(), address: freeAddress(t), plain: freeAddress(t), ended: make(chan struct{})}
	t.Cleanup(p.ca.Close)
	p.ca.SetHost("*", p.address)
	p.root = filepath.Join(p.folder, "root.pem")
	if err := os.WriteFile(p.root, p.ca.RootPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	p.cmd = exec.CommandContext(ctx, os.Args[0], append([]string{"-agree", "-ca", p.ca.URL, "-addr", p.address, "-http", p.plain, "-storage", "certificates"}, args...)...)
	p.cmd.Dir, p.cmd.Stderr = p.folder, &p.log
	p.cmd.Env = append(os.Environ(), programVariable+"=1", "SSL_CERT_FILE="+p.root)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait()
	}()
	for {
		if conn, err := new(net.Dialer).DialContext(ctx, "tcp", p.plain); err == nil { // it listens there last
			_ = conn.Close()
			return p
		}
		select {
		case <-p.ended:
			t.Fatalf("the proxy has ended: %v\n%s", p.cmd.ProcessState, p.log.String())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// end sends the signal and returns the exit status.
func (p *program) end(signal os.Signal) int {
	p.t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		p.t.Fatal(err)
	}
	<-p.ended
	return p.cmd.ProcessState.ExitCode()
}

// client returns a client that finds all names at the proxy, and trusts the CA.
func (p *program) client() *http.Client {
	transport := &http.Transport{TLSClientConfig: p.tls(""), ForceAttemptHTTP2: true, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		if _, port, _ := net.SplitHostPort(address); port == "80" {
			return new(net.Dialer).DialContext(ctx, network, p.plain)
		}
		return new(net.Dialer).DialContext(ctx, network, p.address)
	}}
	p.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func (p *program) tls(name string) *tls.Config {
	return &tls.Config{RootCAs: p.ca.Roots(), ServerName: name}
}

// get returns an answer and its body.
func (p *program) get(url string, header ...string) (*http.Response, string) {
	p.t.Helper()
	q, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, url, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if q.Header.Set(header[i], header[i+1]); header[i] == "Host" {
			q.Host = header[i+1]
		}
	}
	answer, err := p.client().Do(q)
	if err != nil {
		p.t.Fatalf("%s: %v\n%s", url, err, p.log.String())
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return answer, string(body)
}

// freeAddress returns a loopback address to listen on. Its port is below those that systems give to outgoing connections, so
// that none of them takes it meanwhile, and is given once.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		port := 12_000 + rand.N(10_000)
		if _, taken := given.LoadOrStore(port, true); taken {
			continue
		}
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = listener.Close()
			return listener.Addr().String()
		}
	}
	t.Fatal("no port is free")
	return ""
}

// given are the ports that freeAddress has tried.
var given sync.Map

// An output keeps what a process prints, which is read at any time.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
