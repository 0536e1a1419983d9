//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/everseal/everseal/acme/acmetest"
)

// Nothing is due: nothing is said, ordered or run.
func TestRenewIsQuiet(t *testing.T) {
	w := newWorld(t, nil)
	if stdout, stderr := w.run(0, "renew"); stdout+stderr != "" {
		t.Errorf("without a certificate it says %q %q", stdout, stderr)
	}
	w.obtain("localhost")
	w.obtain("127.0.0.1")
	for range 2 {
		if stdout, stderr := w.run(0, "renew"); stdout+stderr != "" || len(w.ca.Orders()) != 2 || len(w.hooks()) != 2 {
			t.Errorf("it says %q %q, after %d orders and %d runs of the hook", stdout, stderr, len(w.ca.Orders()), len(w.hooks()))
		}
	}
}

// With short lifetimes a certificate is due soon: a timer's calls say nothing until one renews it.
func TestRenewWhenDue(t *testing.T) {
	w := newWorld(t, func(ca *acmetest.Server) { ca.Lifetime = 12 * time.Second })
	w.obtain("localhost")
	serial := w.serial(w.ca, "localhost")
	for limit := time.Now().Add(time.Minute); len(w.ca.Certificates()) == 1; {
		stdout, stderr := w.run(0, "renew")
		if isRenewed := len(w.ca.Certificates()) > 1; stderr != "" || isRenewed != (stdout != "") {
			t.Errorf("%d certificates, and it says %q %q", len(w.ca.Certificates()), stdout, stderr)
		}
		if time.Now().After(limit) {
			t.Fatal("nothing is renewed")
		}
	}
	if renewed := w.serial(w.ca, "localhost"); renewed == serial {
		t.Error("the files have the old certificate")
	}
	if hooks := w.hooks(); len(hooks) != 2 {
		t.Errorf("the hook was told %q", hooks)
	}
}

// What fails is the exit status and one line, and leaves the files as they are.
func TestRenewFails(t *testing.T) {
	w := newWorld(t, nil)
	w.obtain("localhost")
	w.obtain("127.0.0.1")
	serial := w.serial(w.ca, "localhost")
	w.ca.FailValidations("localhost", 1)
	stdout, stderr := w.run(1, "renew", "localhost", "127.0.0.1")
	if !strings.HasPrefix(stderr, "certonly: certmanager: localhost: ") || !strings.HasPrefix(stdout, filepath.Join(w.dir, "live", "127.0.0.1")) {
		t.Errorf("it says %q %q", stdout, stderr)
	}
	if w.serial(w.ca, "localhost") != serial || len(w.hooks()) != 3 {
		t.Errorf("the hook was told %q", w.hooks())
	}
}

// A hook that fails is run by the next call again, until it succeeds.
func TestHookFails(t *testing.T) {
	w := newWorld(t, nil)
	if err := os.Remove(w.works); err != nil {
		t.Fatal(err)
	}
	args := append(append(w.at(w.ca), "-webroot", w.webroot), "localhost")
	if _, stderr := w.run(1, args...); !strings.Contains(stderr, "the files of localhost are written, but: sh: exit status 1") {
		t.Errorf("it says %q", stderr)
	}
	w.run(1, "renew")
	if err := os.WriteFile(w.works, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.run(0, "renew")
	w.run(0, "renew")
	if n, orders := len(w.hooks()), len(w.ca.Orders()); n != 3 || orders != 1 {
		t.Errorf("it was run %d times, and there were %d orders", n, orders)
	}
}

// The daemon renews by itself and ends when it is told to.
func TestRun(t *testing.T) {
	w := newWorld(t, func(ca *acmetest.Server) { ca.Lifetime = 12 * time.Second })
	if _, stderr := w.run(1, "run"); !strings.Contains(stderr, "obtain first") {
		t.Errorf("it says %q", stderr)
	}
	w.obtain("localhost")
	serial := w.serial(w.ca, "localhost")
	program := w.command("run")
	stderr, err := program.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	var said []string
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		said = append(said, lines.Text())
		if strings.Contains(lines.Text(), "certificate deployed") {
			break
		}
	}
	if renewed := w.serial(w.ca, "localhost"); renewed == serial {
		t.Errorf("the files have the old certificate, and it says\n%s", strings.Join(said, "\n"))
	}
	if err := program.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, stderr)
	if err := program.Wait(); err != nil {
		t.Error(err)
	}
}

// The units name flags that there are, and systemd takes them.
func TestUnits(t *testing.T) {
	units, err := filepath.Glob("*.service")
	if err != nil || len(units) != 2 {
		t.Fatal(units, err)
	}
	folder := t.TempDir()
	for _, unit := range append(units, "certonly-renew.timer") {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		// systemd looks whether the program is there.
		text = []byte(strings.ReplaceAll(string(text), "/usr/local/bin/certonly", "/bin/true"))
		if err := os.WriteFile(filepath.Join(folder, unit), text, 0o600); err != nil {
			t.Fatal(err)
		}
		match := regexp.MustCompile(`ExecStart=/bin/true (\w+)\n`).FindSubmatch(text)
		if strings.HasSuffix(unit, ".service") && (match == nil || !strings.Contains(usage, "\n  "+string(match[1])+" ")) {
			t.Errorf("%s calls %q", unit, match)
		}
	}
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("systemd-analyze is not installed: the units can't be tried")
	}
	for _, unit := range append(units, "certonly-renew.timer") {
		verify := exec.CommandContext(t.Context(), "systemd-analyze", "verify", "--man=no", filepath.Join(folder, unit))
		if out, err := verify.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", unit, err, out)
		}
	}
}
