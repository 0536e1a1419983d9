//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package main

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/everseal/everseal/acme/acmetest"
	process "github.com/everseal/everseal/examples/internal/program"
)

// One certificate for several names, proved by files of another server: what is there, who may read it, and that nothing is done
// again.
func TestObtainByWebroot(t *testing.T) {
	w := newWorld(t, nil)
	if said := w.obtain("localhost", "127.0.0.1"); !strings.HasPrefix(said, filepath.Join(w.dir, "live", "localhost", "fullchain.pem")+" is good until 2") {
		t.Errorf("it says %q", said)
	}
	serial := w.serial(w.ca, "localhost", "127.0.0.1")
	folder := filepath.Join(w.dir, "live", "localhost")
	content := make(map[string]string)
	for name, mode := range map[string]os.FileMode{"cert.pem": 0o644, "chain.pem": 0o644, "fullchain.pem": 0o644, "privkey.pem": 0o600} {
		info, err := os.Stat(filepath.Join(folder, name))
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: mode %v, want %v (%v)", name, info.Mode().Perm(), mode, err)
		}
		text, _ := os.ReadFile(filepath.Join(folder, name))
		content[name] = string(text)
	}
	if content["fullchain.pem"] != content["cert.pem"]+content["chain.pem"] {
		t.Error("fullchain.pem is not cert.pem and chain.pem")
	}
	if hooks := w.hooks(); len(hooks) != 1 || !slices.Contains([]string{folder + " localhost 127.0.0.1", folder + " 127.0.0.1 localhost"}, hooks[0]) {
		t.Errorf("the hook was told %q", hooks)
	}
	if left, err := os.ReadDir(w.webroot); err != nil || len(left) > 0 {
		t.Errorf("the document root holds %v (%v)", left, err)
	}

	w.obtain("localhost", "127.0.0.1")
	if again := w.serial(w.ca, "localhost", "127.0.0.1"); again != serial || len(w.ca.Orders()) != 1 || len(w.hooks()) != 1 {
		t.Errorf("obtained again: %d orders, %d runs of the hook", len(w.ca.Orders()), len(w.hooks()))
	}
	w.run(0, "obtain", "localhost", "127.0.0.1", "127.0.0.2") // by the document root of before
	if grown := w.serial(w.ca, "localhost", "127.0.0.1", "127.0.0.2"); grown == serial || len(w.hooks()) != 2 {
		t.Errorf("%d runs of the hook", len(w.hooks()))
	}
}

// The program listens itself while the CA validates; the account is that of the first certificate.
func TestObtainStandalone(t *testing.T) {
	var accounts []acmetest.Account
	w := newWorld(t, func(ca *acmetest.Server) {
		ca.OnAccount = func(a acmetest.Account) { accounts = append(accounts, a) }
	})
	address := process.Address(t)
	w.lead(address)
	w.run(0, append(w.at(w.ca), "-standalone", address, "localhost")...)
	w.run(0, "obtain", "127.0.0.1") // as the first was
	w.serial(w.ca, "localhost")
	w.serial(w.ca, "127.0.0.1")
	if len(accounts) != 1 || !slices.Equal(accounts[0].Contact, []string{"mailto:admin@example.com"}) {
		t.Errorf("the accounts are %+v", accounts)
	}
	if hooks := w.hooks(); len(hooks) != 2 {
		t.Errorf("the hook was told %q", hooks)
	}
}

// From a staging environment to another CA: all certificates are replaced, and each CA has its own account.
func TestAnotherCA(t *testing.T) {
	w := newWorld(t, nil)
	w.obtain("localhost")
	w.obtain("127.0.0.1")
	staging := w.ca
	w.ca = w.newCA(nil)
	w.lead(w.serve(http.FileServer(http.Dir(w.webroot))))
	w.obtain("localhost")
	w.serial(w.ca, "localhost")
	w.serial(staging, "127.0.0.1")
	stdout, _ := w.run(0, "renew")
	if !strings.HasPrefix(stdout, filepath.Join(w.dir, "live", "127.0.0.1")) || strings.Count(stdout, "\n") != 1 {
		t.Errorf("it says %q", stdout)
	}
	w.serial(w.ca, "127.0.0.1")
	if stdout, stderr := w.run(0, "renew"); stdout+stderr != "" {
		t.Errorf("nothing is due, and it says %q %q", stdout, stderr)
	}
	if n := w.ca.Requests()["newAccount"]; n != 1 {
		t.Errorf("%d accounts were asked for", n)
	}
}

// A program that is killed while the CA validates finishes the same order when it is started again.
func TestKilled(t *testing.T) {
	w := newWorld(t, nil)
	validating, killed := make(chan struct{}, 10), make(chan struct{})
	files := http.FileServer(http.Dir(w.webroot))
	w.lead(w.serve(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		validating <- struct{}{}
		<-killed
		files.ServeHTTP(rw, r)
	})))
	args := append(append(w.at(w.ca), "-webroot", w.webroot), "localhost")
	program := w.command(args...)
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-validating:
	case <-time.After(time.Minute):
		t.Fatal("the CA has not begun to validate")
	}
	if err := program.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = program.Wait() // it was killed
	close(killed)
	w.run(0, args...)
	w.serial(w.ca, "localhost")
	if n := len(w.ca.Orders()); n != 1 {
		t.Errorf("%d orders were made", n)
	}
	if left, err := os.ReadDir(w.webroot); err != nil || len(left) > 0 {
		t.Errorf("the document root holds %v (%v)", left, err)
	}
}

// A failure says what is wrong, and the next call does not wait.
func TestObtainFails(t *testing.T) {
	w := newWorld(t, nil)
	w.ca.FailValidations("localhost", 1)
	args := append(append(w.at(w.ca), "-webroot", w.webroot), "localhost")
	if _, stderr := w.run(1, args...); !strings.HasPrefix(stderr, "certonly: ") || !strings.Contains(stderr, "localhost") {
		t.Errorf("it says %q", stderr)
	}
	if _, err := os.Stat(filepath.Join(w.dir, "certonly.json")); err == nil {
		t.Error("it is kept that the certificate is wanted")
	}
	w.run(0, args...)
	w.serial(w.ca, "localhost")
}

func TestWrongUsage(t *testing.T) {
	w := newWorld(t, nil)
	for args, want := range map[string]string{
		"get":                                     `"get" is no command`,
		"obtain":                                  "name what the certificate is to be for",
		"obtain -agree https://example.com":       `"https://example.com"`,
		"obtain example.com":                      "-agree",
		"obtain -agree *.example.com":             "dns-01",
		"obtain -agree -ca here example.com":      `"here"`,
		"obtain -nothing example.com":             "-nothing",
		"obtain -agree -webroot example.com":      "name what",
		"obtain -agree -ca-root no.pem a.example": "no.pem",
		"renew example.com":                       `"example.com"`,
		"run example.com":                         `"example.com"`,
	} {
		if _, stderr := w.run(2, strings.Fields(args)...); !strings.HasPrefix(stderr, "certonly: ") || !strings.Contains(stderr, want) {
			t.Errorf("certonly %s: it says %q", args, stderr)
		}
	}
	if stdout, _ := w.run(0, "renew", "-h"); stdout != usage {
		t.Errorf("the help is %q", stdout)
	}
}
