package peers

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/solver"
)

// An nginx is such a server, as one has it in front of other programs. Where the tests run as root, its workers are
// another user's.
type nginx struct {
	address string // host and port
	root    string // its document root
	log     string // file with a line for each request
}

// startNginx starts it, with a page and a folder of the user's in its document root. Where nginx is not installed the
// test is skipped, but not in CI.
func startNginx(t *testing.T) *nginx {
	t.Helper()
	program, folder := lookUpServer(t, "nginx"), t.TempDir()
	// Folders for tests are closed to others.
	if err := os.Chmod(filepath.Dir(folder), 0o755); err != nil {
		t.Fatal(err)
	}
	n := &nginx{freeAddress(t), filepath.Join(folder, "html"), filepath.Join(folder, "access.log")}
	for path, content := range map[string]string{"index.html": greeting, ".well-known/security.txt": "Contact: mailto:security@example.test\n"} {
		file := filepath.Join(n.root, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	user := ""
	if os.Getuid() == 0 {
		user = "user www-data;"
	}
	file := filepath.Join(folder, "nginx.conf")
	writeFile(t, file, fmt.Sprintf(`daemon off;
worker_processes 1;
pid %[1]s/pid;
error_log stderr;
%[2]s
events { }
http {
	access_log %[3]s;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	server {
		listen %[4]s;
		root %[5]s;
	}
}
`, folder, user, n.log, n.address, n.root))
	n.start(t, exec.Command(program, "-e", "stderr", "-p", folder, "-c", file))
	return n
}

// start returns once the server answers. It ends with the test, and with it its workers.
func (n *nginx) start(t *testing.T, command *exec.Cmd) {
	t.Helper()
	startProgram(t, command, syscall.SIGTERM, func(ctx context.Context) error {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", n.address)
		if err == nil {
			_ = conn.Close()
		}
		return err
	})
}

// files returns the paths of all that is in the document root, each with its mode.
func (n *nginx) files(t *testing.T) (files []string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(n.root), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			files = append(files, fmt.Sprint(path, " ", info.Mode()))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// keepsFiles fails the test if the document root has other files in the end than when it was called.
func (n *nginx) keepsFiles(t *testing.T) {
	before := n.files(t)
	t.Cleanup(func() {
		if after := n.files(t); !slices.Equal(before, after) {
			t.Errorf("in the document root there is %q, before it was %q", after, before)
		}
	})
}

// wantAnswers fails the test unless the server had the answer for each of so many requests of the CA.
func (n *nginx) wantAnswers(t *testing.T, want int) {
	t.Helper()
	log, err := os.ReadFile(n.log)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for line := range strings.Lines(string(log)) {
		if !strings.Contains(line, "/.well-known/acme-challenge/") {
			continue
		}
		if !strings.Contains(line, `" 200 `) {
			t.Errorf("the CA was refused: %s", line)
		}
		found++
	}
	const perValidation = 3 // requests of Pebble
	if found != perValidation*want {
		t.Errorf("the CA has asked %d times, want %d", found, perValidation*want)
	}
}

// The answers for names and an address are files that nginx serves, though neither its workers nor the umask is the
// user's who wrote them. What else it serves stays.
func TestNginx(t *testing.T) {
	n := startNginx(t)
	defer syscall.Umask(syscall.Umask(0o077))
	n.keepsFiles(t)
	p := startPebble(t, pebbleSettings{})
	p.http.lead(n.address)
	client := newAccount(t, p)
	r := newRequest(t, &solver.Webroot{Dir: n.root}, "example.test", "www.example.test", "other.test", "127.0.0.1")
	certificate, err := client.Issue(within(t), r)
	if err != nil {
		t.Fatal(err)
	}
	verify(t, p, certificate, r)
	p.wants(t, 1, 1)
	n.wantAnswers(t, len(r.Identifiers))
	response, err := http.Get("http://" + n.address + "/.well-known/security.txt")
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("the user's own file: %s", response.Status)
	}
}

// Many orders at once share the document root.
func TestNginxManyOrders(t *testing.T) {
	const orders = 20
	n := startNginx(t)
	n.keepsFiles(t)
	p := startPebble(t, pebbleSettings{})
	p.http.lead(n.address)
	client, s := newAccount(t, p), &solver.Webroot{Dir: n.root}
	ctx, ended := within(t), make(chan error)
	for i := range orders {
		r := newRequest(t, s, fmt.Sprintf("name%d.example.test", i))
		go func() {
			_, err := client.Issue(ctx, r)
			ended <- err
		}()
	}
	for range orders {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	p.wants(t, orders, orders)
	n.wantAnswers(t, orders)
}

// A manager behind nginx needs no handler or listener for plain HTTP.
func TestNginxBeforeManager(t *testing.T) {
	n := startNginx(t)
	n.keepsFiles(t)
	p := startPebble(t, pebbleSettings{})
	led := make(chan struct{}) // where it is meant to
	p.traffic.divert(func(_ int, serve func()) {
		<-led
		serve()
	})
	const name = "www.example.test"
	s := startServer(t, p, certmanager.Config{Names: []string{name}, Solvers: []acme.Solver{&solver.Webroot{Dir: n.root}}})
	p.http.lead(n.address)
	close(led)
	s.events.wait(t, certmanager.EventObtained, name)
	s.served(t, name)
	if warnings, _ := s.events.of(certmanager.EventWarning, name); len(warnings) != 0 {
		t.Errorf("warned: %v", warnings)
	}
	p.wants(t, 1, 1)
	n.wantAnswers(t, 1)
}

// A process that is killed at a request to the CA leaves no file, once it has been started again.
func TestNginxKill(t *testing.T) {
	const mostRequests = 100
	n := startNginx(t)
	p := startPebble(t, pebbleSettings{})
	p.http.lead(n.address)
	for request, reached := 1, true; reached; request++ {
		if request > mostRequests {
			t.Fatalf("an issuance takes more than %d requests", mostRequests)
		}
		config := childConfig{Name: fmt.Sprintf("killed-at-%d.example.test", request), Webroot: n.root}
		if !t.Run(fmt.Sprint(request), func(t *testing.T) {
			n.keepsFiles(t)
			reached = testKillAtRequest(t, p, config, moment{request, true})
		}) {
			return
		}
	}
}
