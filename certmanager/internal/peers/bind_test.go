package peers

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/everseal/everseal/solver"
)

// The zones that tests edit.
const (
	mainZone      = "example.test"
	delegatedZone = "delegated.test" // to which challenges in mainZone are delegated
)

// The addresses by which zones name their servers. Where those listen in truth, only the networks of tests know.
const (
	primaryAddress   = "127.0.0.1:53"
	secondaryAddress = "127.0.0.2:53"
)

// startBIND starts BIND as the primary server of mainZone, with these records beside those that any zone has, of
// delegatedZone, and of a root in which there is nothing else: so it is a resolver, too, that asks nobody. Where BIND is
// not installed the test is skipped, but not in CI.
func startBIND(t *testing.T, records ...string) *nameServer {
	t.Helper()
	return startBINDAs(t, "127.0.0.1", records...)
}

// startBINDAs starts BIND with zones that name it by the address host. It listens at 127.0.0.1 in any case.
func startBINDAs(t *testing.T, host string, records ...string) *nameServer {
	t.Helper()
	program, folder, s := lookUpServer(t, "named"), t.TempDir(), newNameServer(t)
	_, port, err := net.SplitHostPort(s.Address)
	if err != nil {
		t.Fatal(err)
	}
	zones := map[string][]string{
		mainZone:      append(records, "@ NS ns1", "ns1 A "+host),
		delegatedZone: {"@ NS ns1", "ns1 A " + host},
		".": {
			"@ NS ns1", "ns1 A " + host,
			"example.test NS ns1.example.test", "ns1.example.test A " + host,
			"delegated.test NS ns1.delegated.test", "ns1.delegated.test A " + host,
		},
	}
	config := fmt.Sprintf(`key %[1]q { algorithm hmac-sha256; secret %[2]q; };
options {
	directory %[3]q;
	managed-keys-directory %[3]q;
	pid-file none;
	session-keyfile none;
	listen-on port %[4]s { 127.0.0.1; };
	listen-on-v6 { none; };
	tcp-listen-queue 1000; // usually 10: a connection beyond that is tried again after a second
	tcp-clients 1000;
	recursion yes;
	allow-recursion { 127.0.0.1; };
	dnssec-validation no;
	notify no;
	allow-transfer { key %[1]q; };
};
controls { };
`, tsigKeyName, s.Secret, folder, port)
	for name, lines := range zones {
		file := filepath.Join(folder, "zone-"+name)
		writeFile(t, file, fmt.Sprintf("$ORIGIN %s\n$TTL 60\n@ SOA ns1 hostmaster 1 3600 3600 86400 0\n%s\n", dns.Fqdn(name), strings.Join(lines, "\n")))
		config += fmt.Sprintf("zone %q { type primary; file %q; update-policy { grant %q zonesub TXT; }; };\n", name, file, tsigKeyName)
	}
	file := filepath.Join(folder, "named.conf")
	writeFile(t, file, config)
	s.start(t, delegatedZone, exec.Command(program, "-g", "-n", "1", "-c", file))
	return s
}

// lookUpServer is lookUp for programs that Debian has where only root's PATH leads.
func lookUpServer(t *testing.T, program string) string {
	t.Helper()
	t.Setenv("PATH", os.Getenv("PATH")+string(filepath.ListSeparator)+"/usr/sbin")
	return lookUp(t, program)
}

func writeFile(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A network leads addresses of DNS servers to where these listen in truth. Other addresses are what they are.
type network map[string]string

func (n network) dial(ctx context.Context, protocol, address string) (net.Conn, error) {
	if server, ok := n[address]; ok {
		address = server
	}
	return new(net.Dialer).DialContext(ctx, protocol, address)
}

// dns returns the DNS in which the server is the resolver, and the primary of all zones.
func (s *nameServer) dns() *solver.DNS {
	return &solver.DNS{Resolvers: []string{s.Address}, Dial: network{primaryAddress: s.Address}.dial}
}
