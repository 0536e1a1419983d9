package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/examples/internal/program"
)

func TestMain(m *testing.M) { program.Main(m, main) }

// stop tells the program to end, which it has to do in peace.
func stop(t *testing.T, p *program.Program) {
	t.Helper()
	p.Signal(syscall.SIGTERM)
	if status, said := p.End(); status != 0 {
		t.Errorf("status %d; it said:\n%s", status, said)
	}
}

// The program, a CA, and BIND as the zone's server, by either provider that changes it: one certificate for the domain and all
// below it, which a second start finds.
func TestProcess(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no SIGTERM")
	}
	const domain = "example.test"
	bind := startBIND(t, domain)
	for service, variables := range map[string][]string{
		"rfc2136": {"RFC2136_NAMESERVER=" + bind, "RFC2136_TSIG_KEY=" + tsigName, "RFC2136_TSIG_SECRET=" + tsigSecret},
		"libdns":  {fmt.Sprintf(`LIBDNS_PROVIDER={"server":%q,"key_name":%q,"key_alg":"hmac-sha256","key":%q}`, bind, tsigName, tsigSecret)},
	} {
		t.Run(service, func(t *testing.T) {
			ca := acmetest.NewUnstartedServer()
			ca.Resolver = asking(bind)
			ca.Start()
			t.Cleanup(ca.Close)
			folder, address := t.TempDir(), program.Address(t)
			root := filepath.Join(folder, "root.pem")
			if err := os.WriteFile(root, ca.RootPEM(), 0o600); err != nil {
				t.Fatal(err)
			}
			args := []string{"-agree", "-dns", service, "-ca", ca.URL, "-ca-root", root, "-resolver", bind, "-dir", filepath.Join(folder, "kept"), "-listen", address, domain}
			p := program.Start(t, variables, args...)
			p.Line(" are served at ")
			visit(t, ca, address, domain, "shop."+domain)
			stop(t, p)
			issued := ca.Certificates()
			if names := issued[0].DNSNames; len(issued) != 1 || len(names) != 2 || !slices.Contains(names, domain) || !slices.Contains(names, "*."+domain) {
				t.Errorf("%d certificates were issued, the first for %q", len(issued), names)
			}
			if left, err := asking(bind).LookupTXT(t.Context(), "_acme-challenge."+domain+"."); len(left) > 0 {
				t.Errorf("the zone has %q left (%v)", left, err)
			}
			again := program.Start(t, variables, args...)
			again.Line(" are served at ")
			visit(t, ca, address, "blog."+domain)
			stop(t, again)
			if n := len(ca.Orders()); n != 1 {
				t.Errorf("there were %d orders", n)
			}
		})
	}
}

// visit gets the page of each name, trusting the CA alone.
func visit(t *testing.T, ca *acmetest.Server, address string, names ...string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: ca.Roots()},
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}}
	for _, name := range names {
		answer, err := client.Get("https://" + name + "/")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if want := fmt.Sprintf("This is %q.\n", name); err != nil || string(body) != want {
			t.Errorf("%s: %q, %v", name, body, err)
		}
	}
}

// Any other provider takes the place of the one that a file imports, with nothing else changed.
func TestOneChangedImport(t *testing.T) {
	for file, providers := range map[string][]string{
		"lego.go":   {"lego/v5/providers/dns/hetzner", "lego/v5/providers/dns/cloudflare", "lego/v5/providers/dns/httpreq"},
		"libdns.go": {"github.com/libdns/rfc2136", "github.com/libdns/cloudflare"},
	} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, provider := range providers[1:] {
			changed := strings.Replace(string(text), providers[0]+`"`, provider+`"`, 1)
			if changed == string(text) {
				t.Fatalf("%s does not import %s", file, providers[0])
			}
			folder := t.TempDir()
			here, err := filepath.Abs(file)
			if err != nil {
				t.Fatal(err)
			}
			overlay := fmt.Sprintf(`{"Replace":{%q:%q}}`, here, filepath.Join(folder, "changed.go"))
			for name, text := range map[string]string{"changed.go": changed, "overlay.json": overlay} {
				if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if out, err := exec.CommandContext(t.Context(), "go", "vet", "-overlay", filepath.Join(folder, "overlay.json"), ".").CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", provider, err, out)
			}
		}
	}
}

// What is missing is told, with the status of a failure.
func TestWrongUsage(t *testing.T) {
	for args, want := range map[string]string{
		"":                           "name one domain",
		"-dns lego example.com":      "HETZNER_API_TOKEN",
		"-dns route66 example.com":   `"route66"`,
		"-dns rfc2136 example.com":   "set RFC2136_NAMESERVER",
		"-ca-root none example.com":  "CF_Token",
		"example.com mx.example.com": "name one domain",
	} {
		nothing := []string{"CF_Token=", "HETZNER_API_TOKEN=", "RFC2136_NAMESERVER="}
		if status, said := program.Start(t, nothing, strings.Fields(args)...).End(); status != 1 || !strings.Contains(said, want) {
			t.Errorf("wildcard %s: status %d: %s", args, status, said)
		}
	}
}
