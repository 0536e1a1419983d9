package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/everseal/everseal/examples/internal/program"
)

func TestMain(m *testing.M) { program.Main(m, main) }

// Two programs that are started at once, and one that is started again, have certificates of one CA, which curl trusts by the
// command that is shown.
func TestPrograms(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "a folder")
	names := [][]string{{"localhost", "127.0.0.1"}, {"app.internal"}}
	var programs []*program.Program
	var ports []string
	for i, names := range names {
		upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			host, _, _ := net.SplitHostPort(r.Host)
			fmt.Fprintf(w, "program %d: %s://%s", i, r.Header.Get("X-Forwarded-Proto"), host)
		}))
		t.Cleanup(upstream.Close)
		address := program.Address(t)
		ports = append(ports, address[strings.LastIndex(address, ":")+1:])
		programs = append(programs, program.Start(t, nil, append([]string{"-ca", folder, "-listen", address, "-to", upstream.URL}, names...)...))
	}
	for i, p := range programs {
		for range names[i] {
			p.Line("certificate obtained")
		}
	}
	status, said := program.Start(t, nil, "-ca", folder, "-trust").End()
	if status != 0 {
		t.Fatalf("status %d: %s", status, said)
	}
	root := rootIn(t, said)
	for i, names := range names {
		for _, name := range names {
			if got, want := page(t, root, name, ports[i]), fmt.Sprintf("program %d: https://%s", i, name); got != want {
				t.Errorf("the page of %s is %q, want %q", name, got, want)
			}
		}
	}

	programs[1].Signal(syscall.SIGTERM)
	if status, said := programs[1].End(); status != 0 {
		t.Errorf("status %d: %s", status, said)
	}
	again := program.Start(t, nil, "-ca", folder, "-listen", "127.0.0.1:"+ports[1], "other.internal")
	again.Line("certificate obtained")
	if got := page(t, root, "other.internal", ports[1]); got != "" { // there is no program behind it
		t.Errorf("the page is %q", got)
	}
}

// rootIn returns the file that is named, which must hold the certificate alone.
func rootIn(t *testing.T, said string) string {
	t.Helper()
	match := regexp.MustCompile(`curl --cacert "([^"]+)" `).FindStringSubmatch(said)
	if match == nil {
		t.Fatalf("no command for curl in\n%s", said)
	}
	text, err := os.ReadFile(match[1])
	if err != nil || !strings.Contains(string(text), "CERTIFICATE") || strings.Contains(string(text), "PRIVATE") {
		t.Errorf("the file with the root holds %q, %v", text, err)
	}
	return match[1]
}

// page gets the page of a name with curl, which trusts the root alone.
func page(t *testing.T, root, name, port string) string {
	t.Helper()
	if _, err := exec.LookPath("curl"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("curl is missing")
		}
		t.Skip("curl is missing")
	}
	cmd := exec.CommandContext(t.Context(), "curl", "-sS", "--noproxy", "*", "--cacert", root,
		"--resolve", name+":"+port+":127.0.0.1", "https://"+name+":"+port+"/")
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("curl %s: %v", name, err)
	}
	return string(out)
}

// What is wrong is said, names that others could have among it.
func TestRefusal(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"", "name what the program is called"},
		{"example.com", "example.com is not among what it is permitted to sign for"},
		{"-to localhost:8080 app.internal", `-to "localhost:8080" is no URL`},
	} {
		args := append([]string{"-ca", t.TempDir(), "-listen", "127.0.0.1:0"}, strings.Fields(test.args)...)
		if status, said := program.Start(t, nil, args...).End(); status != 1 || !strings.Contains(said, test.want) {
			t.Errorf("%q: status %d, %q, want %q", test.args, status, said, test.want)
		}
	}
}
