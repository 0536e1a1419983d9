//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package deploy_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/deploy"
)

// lookUp returns where the program is. Where it is missing the test is skipped, but not in CI, which installs it.
func lookUp(t *testing.T, program string) string {
	t.Helper()
	for _, name := range []string{program, filepath.Join("/usr/sbin", program)} {
		if found, err := exec.LookPath(name); err == nil {
			return found
		}
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is not installed, and CI must not go without the tests that need it", program)
	}
	t.Skipf("%s is not installed: install it to run this test", program)
	return ""
}

// freeAddress returns a host and port that nothing listens on. The port is below those that systems give to outgoing
// connections, so that none of them takes it meanwhile, and is given once.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		port := 10_000 + rand.N(20_000)
		if _, taken := given.LoadOrStore(port, true); taken {
			continue
		}
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = ln.Close()
			return ln.Addr().String()
		}
	}
	t.Fatal("no port is free")
	return ""
}

// given are the ports that freeAddress has tried.
var given sync.Map

// startServer starts a server program, which ends with the test, and returns its process.
func startServer(t *testing.T, command *exec.Cmd) int {
	t.Helper()
	command.Stdout, command.Stderr = t.Output(), t.Output()
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGTERM)
		_ = command.Wait() // it was ended by a signal
	})
	return command.Process.Pid
}

// A served is a server program that is deployed to.
type served struct {
	*world
	address string
	roots   *x509.CertPool
	root    string // file of the root
}

func newServed(t *testing.T) *served {
	t.Helper()
	w := newWorld(t, "www.example.test")
	text, err := w.config.Issuers[0].(*certmanager.LocalCA).Root(t.Context(), w.config.Storage)
	if err != nil {
		t.Fatal(err)
	}
	s := &served{w, freeAddress(t), x509.NewCertPool(), filepath.Join(t.TempDir(), "root.pem")}
	s.roots.AppendCertsFromPEM(text)
	if err := os.WriteFile(s.root, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// write writes a configuration with the address and the folder of the files in the place of two %s, and returns its path.
func (s *served) write(format string) string {
	s.t.Helper()
	name := filepath.Join(s.t.TempDir(), "server.conf")
	if err := os.WriteFile(name, fmt.Appendf(nil, format, s.address, s.dir), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return name
}

// handshake returns the leaf that clients get.
func (s *served) handshake() (string, error) {
	config := &tls.Config{RootCAs: s.roots, ServerName: "www.example.test"}
	secure, err := tls.Dial("tcp", s.address, config)
	if err != nil {
		return "", err
	}
	defer secure.Close()
	return string(secure.ConnectionState().PeerCertificates[0].Raw), nil
}

// wantServed waits until clients get what the manager serves, and has curl verify it.
func (s *served) wantServed() {
	s.t.Helper()
	var last error
	eventually(s.t, func() bool {
		var leaf string
		leaf, last = s.handshake()
		return last == nil && leaf == s.served("www.example.test")
	})
	_, port, _ := net.SplitHostPort(s.address)
	curl := exec.CommandContext(s.t.Context(), lookUp(s.t, "curl"), "--silent", "--show-error", "--noproxy", "*", "--cacert", s.root,
		"--connect-to", "::127.0.0.1:"+port, "https://www.example.test/")
	if output, err := curl.CombinedOutput(); err != nil {
		s.t.Errorf("%v: %s", err, output)
	}
}

// testRenewal has a renewal reach the clients of the server. It makes the n-th result.
func (s *served) testRenewal(d *deploy.Deployer, n int) {
	s.t.Helper()
	before := s.served("www.example.test")
	s.renew("www.example.test")
	d.OnEvent(certmanager.Event{Kind: certmanager.EventObtained})
	s.succeeded(n)
	s.wantServed()
	if s.served("www.example.test") == before {
		s.t.Error("nothing was renewed")
	}
}

// nginx has two files by name, and takes the new ones when the command has it reload. A command that fails before nginx is
// there harms nothing.
func TestNginx(t *testing.T) {
	program := lookUp(t, "nginx")
	s := newServed(t)
	folder := t.TempDir()
	config := s.write(`daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr;
events { }
http {
	access_log off;
	client_body_temp_path body;
	proxy_temp_path proxy;
	fastcgi_temp_path fastcgi;
	uwsgi_temp_path uwsgi;
	scgi_temp_path scgi;
	server {
		listen %[1]s ssl;
		server_name www.example.test;
		ssl_certificate     %[2]s/www.example.test/fullchain.pem;
		ssl_certificate_key %[2]s/www.example.test/privkey.pem;
		return 200;
	}
}
`)
	arguments := []string{"-e", "stderr", "-p", folder, "-c", config}
	d := s.deployer()
	d.Command = append([]string{program}, append(arguments, "-s", "reload")...)
	runs(t, d.Run)
	if r := s.await(1); r.Err == nil { // nginx does not run yet
		t.Errorf("%+v", r)
	}
	startServer(t, exec.Command(program, arguments...))
	s.wantServed()
	s.testRenewal(d, 2)
}

// HAProxy reads all files of the folder, and finds nothing there but certificates.
func TestHAProxy(t *testing.T) {
	program := lookUp(t, "haproxy")
	s := newServed(t)
	d := s.deployer()
	pid := filepath.Join(t.TempDir(), "pid")
	d.OneFile, d.Command = true, []string{"sh", "-c", `! test -e "$0" || kill -USR2 "$(cat "$0")"`, pid}
	runs(t, d.Run)
	s.succeeded(1)
	config := s.write(`global
	log stderr format raw local0 warning
defaults
	mode http
	timeout client 5s
	timeout server 5s
	timeout connect 5s
frontend all
	bind %[1]s ssl crt %[2]s/
	http-request return status 200
`)
	master := startServer(t, exec.Command(program, "-W", "-f", config))
	s.wantServed()
	if err := os.WriteFile(pid, fmt.Append(nil, master), 0o600); err != nil {
		t.Fatal(err)
	}
	s.testRenewal(d, 2)
}

// OpenSSL finds that the four files belong together.
func TestOpenSSL(t *testing.T) {
	openssl := lookUp(t, "openssl")
	s := newServed(t)
	runs(t, s.deployer().Run)
	s.succeeded(1)
	folder := filepath.Join(s.dir, "www.example.test")
	run := func(arguments ...string) string {
		command := exec.CommandContext(t.Context(), openssl, arguments...)
		command.Dir = folder
		output, err := command.CombinedOutput()
		if err != nil {
			t.Errorf("%v: %v\n%s", command, err, output)
		}
		return string(output)
	}
	if got := run("verify", "-CAfile", s.root, "-untrusted", "chain.pem", "cert.pem"); !strings.Contains(got, "cert.pem: OK") {
		t.Error(got)
	}
	if run("x509", "-in", "fullchain.pem", "-noout", "-pubkey") != run("pkey", "-in", "privkey.pem", "-pubout") {
		t.Error("the key is not the certificate's")
	}
}
