package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/everseal/everseal/examples/internal/program"
)

// startBIND starts BIND with a zone whose TXT records the key may change, and returns its address. Without BIND the test is
// skipped, but not in CI.
func startBIND(t *testing.T, zone string) string {
	t.Helper()
	path, err := exec.LookPath("named")
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/named")
	}
	switch {
	case err != nil && os.Getenv("CI") != "":
		t.Fatalf("BIND is not installed: %v", err)
	case err != nil:
		t.Skip("BIND is not installed (Debian's package bind9): its test is left out")
	}
	folder := t.TempDir()
	address := program.Address(t)
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(folder, "named.conf")
	err = errors.Join(os.WriteFile(filepath.Join(folder, zone), []byte("$TTL 60\n@ SOA ns hostmaster 1 3600 3600 86400 0\n@ NS ns\nns A 127.0.0.1\n"), 0o600),
		os.WriteFile(config, fmt.Appendf(nil, `key %q { algorithm hmac-sha256; secret %q; };
options {
	directory %q;
	managed-keys-directory %[3]q;
	pid-file none;
	session-keyfile none;
	listen-on port %s { 127.0.0.1; };
	listen-on-v6 { none; };
	recursion no;
	dnssec-validation no;
	notify no;
};
controls { };
zone %[5]q { type primary; file %[5]q; update-policy { grant %[1]q zonesub TXT; }; };
`, tsigName, tsigSecret, folder, port, zone), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	named := exec.Command(path, "-g", "-n", "1", "-c", config)
	ready, ended := make(chan struct{}), make(chan struct{})
	output, err := named.StderrPipe()
	if err == nil {
		err = named.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	go func() {
		defer close(ended)
		lines := bufio.NewScanner(output)
		for lines.Scan() {
			if strings.HasSuffix(lines.Text(), " running") {
				close(ready)
				break
			}
			said = append(said, lines.Text())
		}
		_, _ = io.Copy(io.Discard, output)
	}()
	t.Cleanup(func() {
		_ = named.Process.Kill()
		<-ended
		_ = named.Wait() // it was killed
	})
	select {
	case <-ready:
	case <-ended:
		t.Fatalf("BIND has ended; it said:\n%s", strings.Join(said, "\n"))
	}
	return address
}

// asking returns a resolver that asks the DNS server at the address alone.
func asking(address string) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
}
