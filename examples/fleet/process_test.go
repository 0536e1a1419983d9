package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// programVariable makes the test's binary the program itself: the demonstration, and its members.
const programVariable = "EVERSEAL_FLEET"

func TestMain(m *testing.M) {
	if os.Getenv(programVariable) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A program is the demonstration as a process of its own.
type program struct {
	t        *testing.T
	address  string
	control  string
	root     string // the file of the CA's root certificate
	roots    *x509.CertPool
	internal []string // addresses of the members' status pages
	curl     string   // the first command that it prints
	cmd      *exec.Cmd
	log      output
	ended    chan struct{}
}

// needPostgres ends the test where PostgreSQL is missing, which CI has to have.
func needPostgres(t *testing.T) {
	t.Helper()
	for _, name := range []string{"initdb", "pg_ctl"} {
		if _, err := findPostgres(name); errors.Is(err, errNoPostgres) && os.Getenv("CI") == "" {
			t.Skip(err)
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// start starts the demonstration and returns when it has said what there is to know.
func start(t *testing.T, args ...string) *program {
	t.Helper()
	p := &program{t: t, address: freeAddress(t), control: freeAddress(t), ended: make(chan struct{})}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	t.Cleanup(cancel)
	p.cmd = exec.CommandContext(ctx, os.Args[0], append([]string{"-addr", p.address, "-control", p.control}, args...)...)
	p.cmd.Env, p.cmd.Stderr = append(os.Environ(), programVariable+"=1"), &p.log
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(os.Interrupt) } // so that PostgreSQL ends, too
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	for len(p.internal) < size && lines.Scan() {
		p.read(lines.Text())
	}
	go func() {
		defer close(p.ended)
		_, _ = io.Copy(io.Discard, stdout)
		_ = p.cmd.Wait()
	}()
	t.Cleanup(func() { <-p.ended })
	t.Cleanup(cancel)
	if len(p.internal) < size {
		<-p.ended
		t.Fatalf("the demonstration has ended: %v\n%s", p.cmd.ProcessState, p.log.String())
	}
	pem, err := os.ReadFile(p.root)
	if err != nil {
		t.Fatal(err)
	}
	p.roots = x509.NewCertPool()
	p.roots.AppendCertsFromPEM(pem)
	return p
}

// read reads a line that the demonstration prints.
func (p *program) read(line string) {
	if match := regexp.MustCompile(`curl --cacert (\S+) .*`).FindStringSubmatch(line); match != nil && p.curl == "" {
		p.curl, p.root = match[0], match[1]
	}
	if match := regexp.MustCompile(`status page of member \d is http://(\S+)/,`).FindStringSubmatch(line); match != nil {
		p.internal = append(p.internal, match[1])
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

// tell sends the demonstration's control a POST.
func (p *program) tell(path, want string) {
	p.t.Helper()
	response, err := http.Post("http://"+p.control+path, "", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || string(body) != want+"\n" {
		p.t.Fatalf("%s: %v, %s; want %s\n%s", path, err, body, want, p.log.String())
	}
}

// dial makes a connection to the balancer.
func (p *program) dial(ctx context.Context, config *tls.Config) (*tls.Conn, error) {
	config.RootCAs = p.roots
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", p.address)
	if err != nil {
		return nil, err
	}
	return conn.(*tls.Conn), nil
}

// get returns the page of a name, by a connection of its own with this configuration.
func (p *program) get(ctx context.Context, name string, config *tls.Config) (page string, state tls.ConnectionState, err error) {
	config = config.Clone()
	config.ServerName = name
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return p.dial(ctx, config)
	}}}
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+name+"/", nil)
	if err != nil {
		return "", state, err
	}
	response, err := client.Do(q)
	if err != nil {
		return "", state, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if response.TLS != nil {
		state = *response.TLS
	}
	return string(body), state, err
}

// memberOf returns which member has made a page.
func memberOf(page string) string {
	_, name, _ := strings.Cut(page, "by ")
	return strings.TrimSuffix(name, ".</p>\n")
}

func freeAddress(t *testing.T) string {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", port)
}

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
