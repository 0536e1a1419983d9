package main

import (
	"bufio"
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
	"time"

	"github.com/everseal/everseal/acme/acmetest"
)

// programVariable makes the test's binary the program itself.
const programVariable = "EVERSEAL_WILDCARD"

func TestMain(m *testing.M) {
	if os.Getenv(programVariable) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A program is the server as a process of its own.
type program struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines *bufio.Scanner // of what it logs
	said  []string
}

// start starts the program with variables beside those of the test.
func start(t *testing.T, variables []string, args ...string) *program {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(append(os.Environ(), programVariable+"=1"), variables...)
	stderr, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	return &program{t: t, cmd: cmd, lines: bufio.NewScanner(stderr)}
}

// await waits for a line with the text.
func (p *program) await(text string) {
	p.t.Helper()
	for p.lines.Scan() {
		p.said = append(p.said, p.lines.Text())
		if strings.Contains(p.lines.Text(), text) {
			return
		}
	}
	_ = p.cmd.Wait()
	p.t.Fatalf("the program ended without saying %q; it said:\n%s", text, strings.Join(p.said, "\n"))
}

// stop tells the program to end, which it has to do in peace.
func (p *program) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	for p.lines.Scan() {
		p.said = append(p.said, p.lines.Text())
	}
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("%v; it said:\n%s", err, strings.Join(p.said, "\n"))
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
			folder, address := t.TempDir(), freeAddress(t)
			root := filepath.Join(folder, "root.pem")
			if err := os.WriteFile(root, ca.RootPEM(), 0o600); err != nil {
				t.Fatal(err)
			}
			args := []string{"-agree", "-dns", service, "-ca", ca.URL, "-ca-root", root, "-resolver", bind, "-dir", filepath.Join(folder, "kept"), "-listen", address, domain}
			p := start(t, variables, args...)
			p.await(" are served at ")
			visit(t, ca, address, domain, "shop."+domain)
			p.stop()
			issued := ca.Certificates()
			if names := issued[0].DNSNames; len(issued) != 1 || len(names) != 2 || !slices.Contains(names, domain) || !slices.Contains(names, "*."+domain) {
				t.Errorf("%d certificates were issued, the first for %q", len(issued), names)
			}
			if left, err := asking(bind).LookupTXT(t.Context(), "_acme-challenge."+domain+"."); len(left) > 0 {
				t.Errorf("the zone has %q left (%v)", left, err)
			}
			again := start(t, variables, args...)
			again.await(" are served at ")
			visit(t, ca, address, "blog."+domain)
			again.stop()
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
		cmd := exec.CommandContext(t.Context(), os.Args[0], strings.Fields(args)...)
		cmd.Env = []string{programVariable + "=1"}
		if out, err := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), want) {
			t.Errorf("wildcard %s: %v: %s", args, err, out)
		}
	}
}
