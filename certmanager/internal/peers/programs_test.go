package peers

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/everseal/everseal/certmanager"
)

// lookUp returns where the program is. Where it is missing the test is skipped, but not in CI, which installs it.
func lookUp(t *testing.T, program string) string {
	t.Helper()
	found, err := exec.LookPath(program)
	if err == nil {
		return found
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%v: install it", err)
	}
	t.Skipf("%v: install it to run this test", err)
	return ""
}

// writeRoot writes the CA's root certificate to a file that programs read.
func writeRoot(t *testing.T, p *pebble) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "root.pem")
	writePEM(t, name, p.chains.GetRootCert(0).DER)
	return name
}

// Names of the servers that the programs call.
const (
	called  = "www.example.test"
	unknown = "unknown.example.test"
)

// startCalled starts a server that has certificates for called and for its address.
func startCalled(t *testing.T) (s *server, root, port string) {
	t.Helper()
	p := startPebble(t, pebbleSettings{})
	s = startServer(t, p, certmanager.Config{
		Names:    []string{"127.0.0.1"},
		Subjects: []certmanager.Subject{{Names: []string{called, "example.test"}}},
	})
	s.events.wait(t, certmanager.EventObtained, "127.0.0.1")
	s.events.wait(t, certmanager.EventObtained, called)
	_, port, err := net.SplitHostPort(s.address)
	if err != nil {
		t.Fatal(err)
	}
	return s, writeRoot(t, p), port
}

func TestCurl(t *testing.T) {
	curl := lookUp(t, "curl")
	_, root, port := startCalled(t)
	tests := []struct {
		name    string
		host    string
		options []string
		want    string // the page; empty: curl fails
	}{
		{"a name", called, nil, greeting},
		{"another name of the certificate", "example.test", nil, greeting},
		{"the name in upper case", strings.ToUpper(called), nil, greeting},
		{"TLS 1.2", called, []string{"--tls-max", "1.2"}, greeting},
		{"HTTP/1.1", called, []string{"--http1.1"}, greeting},
		{"an IP address", "127.0.0.1", nil, greeting},
		{"an unknown name", unknown, nil, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			args := append(test.options, "--silent", "--show-error", "--fail", "--cacert", root,
				"--connect-to", "::127.0.0.1:"+port, "https://"+test.host+":"+port+"/")
			command := exec.CommandContext(within(t), curl, args...)
			output, err := command.CombinedOutput()
			if test.want == "" {
				if err == nil {
					t.Fatalf("curl printed %q", output)
				}
				return
			}
			if err != nil || string(output) != test.want {
				t.Errorf("%v printed %q, %v", command, output, err)
			}
		})
	}
}

func TestOpenSSL(t *testing.T) {
	openssl := lookUp(t, "openssl")
	s, root, _ := startCalled(t)
	tests := []struct {
		name    string
		options []string
		want    []string // in what it prints
	}{
		{"TLS 1.3", []string{"-servername", called, "-verify_hostname", called, "-tls1_3"}, []string{"TLSv1.3", "Verification: OK"}},
		{"TLS 1.2", []string{"-servername", called, "-verify_hostname", called, "-tls1_2"}, []string{"TLSv1.2", "Verification: OK"}},
		{"HTTP/2", []string{"-servername", called, "-alpn", "h2"}, []string{"ALPN protocol: h2", "Verification: OK"}},
		{"an IP address", []string{"-noservername", "-verify_ip", "127.0.0.1"}, []string{"Verification: OK"}},
		{"another name", []string{"-servername", called, "-verify_hostname", unknown}, []string{"hostname mismatch"}},
		{"an unknown name", []string{"-servername", unknown}, []string{"unrecognized name"}},
		{"a validation out of the blue", []string{"-servername", called, "-alpn", certmanager.ALPNProto}, []string{"alert internal error"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			args := append([]string{"s_client", "-connect", s.address, "-CAfile", root, "-verify_return_error"}, test.options...)
			command := exec.CommandContext(within(t), openssl, args...)
			output, err := command.CombinedOutput() // standard input is empty: it hangs up after the handshake
			for _, want := range test.want {
				if !strings.Contains(string(output), want) {
					t.Errorf("%v does not print %q, %v:\n%s", command, want, err, output)
				}
			}
			if succeeds := strings.Contains(test.want[len(test.want)-1], "OK"); succeeds != (err == nil) {
				t.Errorf("%v: %v", command, err)
			}
		})
	}
}

// The server's own protocols and the CA's exclude each other: a client that offers both is no validation.
func TestProtocolsTogether(t *testing.T) {
	s, _, _ := startCalled(t)
	config := &tls.Config{RootCAs: s.ca.roots(), ServerName: called, NextProtos: []string{"h2", certmanager.ALPNProto}}
	dialer := tls.Dialer{Config: config}
	conn, err := dialer.DialContext(within(t), "tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := conn.(*tls.Conn).ConnectionState().NegotiatedProtocol; got != "h2" {
		t.Errorf("negotiated %q, want h2", got)
	}
}

// startProgram starts a server program and returns once it answers. The signal ends it when the test ends.
func startProgram(t *testing.T, command *exec.Cmd, end os.Signal, answers func(ctx context.Context) error) {
	t.Helper()
	output := t.Output()
	command.Stdout, command.Stderr = output, output
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = command.Wait()
	}()
	t.Cleanup(func() {
		_ = command.Process.Signal(end)
		<-ended
	})
	for ctx := within(t); ; runtime.Gosched() {
		err := answers(ctx)
		if err == nil {
			return
		}
		select {
		case <-ended:
			t.Fatalf("%s has ended: %v", command, command.ProcessState)
		case <-ctx.Done():
			t.Fatalf("%s does not answer: %v", command, err)
		default:
		}
	}
}
