package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBadInput(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	below := filepath.Join(file, "folder")
	port := taken.Addr().String()
	for _, c := range []struct {
		args   string
		status int
		want   []string // in the message
	}{
		{"-storage " + below, 1, []string{below, "-storage", "not a directory"}},
		{"-storage " + t.TempDir() + " -addr " + port, 1, []string{port, "in use", "-addr"}},
		{"-domain example.com -agree -storage " + t.TempDir() + " -addr " + port, 1, []string{port, "in use"}},
		{"-domain example.com", 2, []string{"-agree", "terms of service"}},
		{"-domain exa_mple.com -agree", 2, []string{"-domain", `"exa_mple.com"`, "not a domain name"}},
		{"-domain https://example.com/ -agree", 2, []string{`"https://example.com/"`}},
		{"-domain example.com, -agree", 2, []string{"-domain", "empty"}},
		{"-domain *.example.com -agree -storage " + t.TempDir(), 2, []string{"*.example.com", "dns-01"}},
		{"-domain example.com -agree -lifetime 1h", 2, []string{"-lifetime", "the CA decides"}},
		{"-domain= -agree", 2, []string{"-domain"}},
		{"-email admin@example.com", 2, []string{"-email", "-domain"}},
		{"-ca https://ca.example/directory", 2, []string{"-ca", "-domain"}},
		{"-lifetime 0s", 2, []string{"-lifetime 0s", "5s"}},
		{"-lifetime 2161h", 2, []string{"-lifetime 2161h", "2160h"}},
		{"-lifetime tomorrow", 2, []string{"-lifetime", `"tomorrow"`}},
		{"-addr localhost", 2, []string{`-addr "localhost"`, "127.0.0.1:8443"}},
		{"-addr 127.0.0.1:65536", 2, []string{`-addr "127.0.0.1:65536"`}},
		{"-nothing", 2, []string{"-nothing"}},
		{"example.com", 2, []string{`"example.com"`}},
	} {
		var stdout, stderr bytes.Buffer
		status := run(t.Context(), strings.Fields(c.args), &stdout, &stderr)
		if status != c.status {
			t.Errorf("%s: status %d, not %d: %s", c.args, status, c.status, stderr.String())
		}
		for _, want := range c.want {
			if !strings.Contains(stderr.String(), want) {
				t.Errorf("%s: %q is not in the message: %s", c.args, want, stderr.String())
			}
		}
		if strings.Contains(stdout.String(), "curl ") {
			t.Errorf("%s: a command is printed that would fail: %s", c.args, stdout.String())
		}
	}
}

func TestHelp(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if status := run(t.Context(), []string{"-h"}, &stdout, &stderr); status != 0 || stderr.Len() > 0 {
		t.Errorf("status %d: %s", status, stderr.String())
	}
	for _, flag := range []string{"-addr address", "-lifetime duration", "-storage folder", "-domain name", "-email address", "-ca URL", "-agree"} {
		if !strings.Contains(stdout.String(), flag) {
			t.Errorf("the help has no %q:\n%s", flag, stdout.String())
		}
	}
}

// A damaged record is reported and left as it is: it may hold the only copy of something.
func TestDamagedCA(t *testing.T) {
	for name, value := range map[string]string{
		"no JSON":        "{",
		"no root":        "{}",
		"root not a CA":  string(marshal(t, caRecord{Root: leafPEM(t)})),
		"root, no key":   `{"root":"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}`,
		"something else": `["quickstart"]`,
	} {
		folder := t.TempDir()
		save(t, folder, value)
		var stdout, stderr bytes.Buffer
		status := run(t.Context(), []string{"-storage", folder}, &stdout, &stderr)
		if message := stderr.String(); status != 1 || !strings.Contains(message, caKey) || !strings.Contains(message, folder) {
			t.Errorf("%s: status %d: %s", name, status, message)
		}
		if got := load(t, folder); got != value {
			t.Errorf("%s: the record is %q now", name, got)
		}
	}
}
