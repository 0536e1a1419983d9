//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/everseal/everseal/acme/acmetest"
)

// programVariable makes the test's binary the program itself.
const programVariable = "EVERSEAL_CERTONLY"

func TestMain(m *testing.M) {
	if os.Getenv(programVariable) != "" {
		main()
	}
	os.Exit(m.Run())
}

// A world is a CA, a web server on what the CA takes for port 80, and a folder of the program's.
type world struct {
	t       *testing.T
	ca      *acmetest.Server
	rootPEM string // file
	dir     string
	webroot string
	hooked  string // file, with a line for each run of the hook
	works   string // file, without which the hook fails
}

func newWorld(t *testing.T, set func(*acmetest.Server)) *world {
	t.Helper()
	folder := t.TempDir()
	w := &world{t: t, rootPEM: filepath.Join(folder, "root.pem"), dir: filepath.Join(folder, "certonly"), webroot: filepath.Join(folder, "html"),
		hooked: filepath.Join(folder, "hooked"), works: filepath.Join(folder, "works")}
	if err := errors.Join(os.Mkdir(w.webroot, 0o755), os.WriteFile(w.works, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	w.ca = w.newCA(set)
	w.lead(w.serve(http.FileServer(http.Dir(w.webroot))))
	return w
}

// newCA starts a CA, which set may prepare, and has the program trust it.
func (w *world) newCA(set func(*acmetest.Server)) *acmetest.Server {
	w.t.Helper()
	ca := acmetest.NewUnstartedServer()
	ca.Challenges = []string{"http-01"}
	if set != nil {
		set(ca)
	}
	ca.Start()
	w.t.Cleanup(ca.Close)
	if err := os.WriteFile(w.rootPEM, ca.RootPEM(), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return ca
}

// serve returns the address of a web server.
func (w *world) serve(handler http.Handler) string {
	server := httptest.NewServer(handler)
	w.t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// lead has the CA find the server at the address.
func (w *world) lead(address string) {
	for _, name := range []string{"localhost", "127.0.0.1", "127.0.0.2"} {
		w.ca.SetHost(name, address)
	}
}

// command returns the program as a process of its own.
func (w *world) command(args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	w.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Args[0], append(args[:1:1], append([]string{"-dir", w.dir}, args[1:]...)...)...)
	cmd.Env = append(os.Environ(), programVariable+"=1")
	return cmd
}

// run runs the program, which has to end with the status, and returns what it has said.
func (w *world) run(status int, args ...string) (stdout, stderr string) {
	w.t.Helper()
	cmd := w.command(args...)
	var out, told bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &told
	_ = cmd.Run() // its status tells
	if got := cmd.ProcessState.ExitCode(); got != status {
		w.t.Fatalf("%q: exit status %d, want %d\n%s%s", args, got, status, out.String(), told.String())
	}
	return out.String(), told.String()
}

// at are the flags by which the program finds the CA and calls the hook.
func (w *world) at(ca *acmetest.Server) []string {
	return []string{"obtain", "-agree", "-email", "admin@example.com", "-ca", ca.URL, "-ca-root", w.rootPEM,
		"-hook", fmt.Sprintf(`echo "$RENEWED_LINEAGE $RENEWED_DOMAINS" >>%s; test -e %s`, w.hooked, w.works)}
}

// obtain obtains a certificate by the web server's folder.
func (w *world) obtain(names ...string) string {
	w.t.Helper()
	stdout, _ := w.run(0, append(append(w.at(w.ca), "-webroot", w.webroot), names...)...)
	return stdout
}

// hooks returns what the hook was told.
func (w *world) hooks() []string {
	w.t.Helper()
	text, err := os.ReadFile(w.hooked)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		w.t.Fatal(err)
	}
	return strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' })
}

// serial has a server serve the files that are there for a name, and a client verify them for all the names. It returns the
// certificate's serial number.
func (w *world) serial(ca *acmetest.Server, names ...string) string {
	w.t.Helper()
	folder := filepath.Join(w.dir, "live", names[0])
	pair, err := tls.LoadX509KeyPair(filepath.Join(folder, "fullchain.pem"), filepath.Join(folder, "privkey.pem"))
	if err != nil {
		w.t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.StartTLS()
	defer server.Close()
	for _, name := range names {
		connection, err := tls.Dial("tcp", server.Listener.Addr().String(), &tls.Config{RootCAs: ca.Roots(), ServerName: name})
		if err != nil {
			w.t.Errorf("%s: %v", name, err)
			continue
		}
		if n := len(connection.ConnectionState().PeerCertificates[0].DNSNames) + len(connection.ConnectionState().PeerCertificates[0].IPAddresses); n != len(names) {
			w.t.Errorf("the certificate has %d names, want %q", n, names)
		}
		connection.Close()
	}
	return pair.Leaf.SerialNumber.String()
}
