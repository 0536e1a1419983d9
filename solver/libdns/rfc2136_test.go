package libdns_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
	adapter "github.com/everseal/everseal/solver/libdns"
	"github.com/libdns/rfc2136"
)

const tsigKey = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="

// startBIND starts BIND with the zones example.test and sub.example.test, and returns its address. Without
// BIND the test is skipped, but not in CI.
func startBIND(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("named")
	if err != nil {
		program, err = exec.LookPath("/usr/sbin/named")
	}
	switch {
	case err != nil && os.Getenv("CI") != "":
		t.Fatalf("BIND is not installed: %v", err)
	case err != nil:
		t.Skip("BIND is not installed (Debian's package bind9): its test is left out")
	}
	folder := t.TempDir()
	host, port, err := net.SplitHostPort(freeAddress(t))
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`key "everseal" { algorithm hmac-sha256; secret "%s"; };
options {
	directory %q;
	managed-keys-directory %[2]q;
	pid-file none;
	session-keyfile none;
	listen-on port %s { 127.0.0.1; };
	listen-on-v6 { none; };
	recursion no;
	dnssec-validation no;
	notify no;
};
controls { };
`, tsigKey, folder, port)
	for _, zone := range []string{"example.test", "sub.example.test"} {
		file := filepath.Join(folder, zone)
		write(t, file, "$TTL 60\n@ SOA ns hostmaster 1 3600 3600 86400 0\n@ NS ns\nns A 127.0.0.1\n")
		config += fmt.Sprintf("zone %q { type primary; file %q; update-policy { grant everseal zonesub TXT; }; };\n", zone, file)
	}
	write(t, filepath.Join(folder, "named.conf"), config)
	run(t, exec.Command(program, "-g", "-n", "1", "-c", filepath.Join(folder, "named.conf")), "running")
	return net.JoinHostPort(host, port)
}

// freeAddress returns an address that a program can listen at, by TCP and by UDP. Its port is below those that
// systems give to outgoing connections.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 10_000+rand.N(20_000))
		listener, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		packets, err := net.ListenPacket("udp", address)
		listener.Close()
		if err == nil {
			packets.Close()
			return address
		}
	}
	t.Fatal("no port is free both by TCP and by UDP")
	return ""
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// run starts a program, which is killed at the test's end, and returns when it has printed a line that ends with
// the word.
func run(t *testing.T, program *exec.Cmd, word string) {
	t.Helper()
	output, err := program.StderrPipe()
	if err == nil {
		err = program.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	ready, ended := make(chan bool, 1), make(chan struct{})
	go func() {
		defer close(ended)
		lines := bufio.NewScanner(output)
		for lines.Scan() {
			if strings.HasSuffix(lines.Text(), " "+word) {
				ready <- true
				break
			}
			t.Log(lines.Text())
		}
		_, _ = io.Copy(io.Discard, output)
	}()
	t.Cleanup(func() {
		_ = program.Process.Kill()
		<-ended
		_ = program.Wait()
	})
	select {
	case <-ready:
	case <-ended:
		t.Fatal("the program has ended")
	}
}

// dnsAt returns a DNS in which one server is the resolver and holds all zones.
func dnsAt(server string) *solver.DNS {
	return &solver.DNS{
		Resolvers: []string{server},
		Private:   true, // the zones name loopback
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, server)
		},
	}
}

// texts asks the server for the TXT records at a name.
func texts(t *testing.T, dns *solver.DNS, name string) []string {
	t.Helper()
	resolver := net.Resolver{PreferGo: true, Dial: dns.Dial}
	values, err := resolver.LookupTXT(t.Context(), name+".")
	if missing, ok := err.(*net.DNSError); err != nil && (!ok || !missing.IsNotFound) {
		t.Fatal(err)
	}
	return values
}

func TestRFC2136(t *testing.T) {
	server := startBIND(t)
	dns := dnsAt(server)
	provider := &rfc2136.Provider{Server: server, KeyName: "everseal", KeyAlg: "hmac-sha256", Key: tsigKey}
	dns01 := &solver.DNS01{Provider: adapter.New(provider), DNS: dns}
	base, wildcard, below := proofFor("example.test", "token1"), proofFor("example.test", "token2"), proofFor("www.sub.example.test", "token3")
	proofs := []acme.Proof{base, wildcard, below}
	for range 2 { // again is no error
		for _, p := range proofs {
			if err := dns01.Present(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, p := range proofs {
		if err := dns01.Wait(t.Context(), p); err != nil {
			t.Error(err)
		}
	}
	if got := texts(t, dns, "_acme-challenge.example.test"); len(got) != 2 {
		t.Errorf("the records are %q", got)
	}
	if err := dns01.CleanUp(t.Context(), base); err != nil {
		t.Error(err)
	}
	_, value, err := wildcard.TXTRecord()
	if err != nil {
		t.Fatal(err)
	}
	if got := texts(t, dns, "_acme-challenge.example.test"); len(got) != 1 || got[0] != value {
		t.Errorf("the records are %q, want the wildcard's", got)
	}
	for _, p := range []acme.Proof{wildcard, below, below} {
		if err := dns01.CleanUp(t.Context(), p); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"_acme-challenge.example.test", "_acme-challenge.www.sub.example.test"} {
		if got := texts(t, dns, name); len(got) > 0 {
			t.Errorf("%s has %q left", name, got)
		}
	}

	provider.Key = "d3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmcgd3I="
	if err := dns01.Present(t.Context(), base); err == nil || !strings.Contains(err.Error(), "create the TXT record _acme-challenge.example.test in the zone \"example.test\": ") || strings.Contains(err.Error(), provider.Key) {
		t.Errorf("with a wrong key the error is %v", err)
	}
}
