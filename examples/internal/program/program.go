// Package program runs programs of the examples as processes, beside a CA for tests, and is used by their tests alone.
package program

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/everseal/everseal/acme/acmetest"
)

// childVariable makes the test's binary the program itself.
const childVariable = "EVERSEAL_EXAMPLE"

// timeout ends a program that hangs.
const timeout = 2 * time.Minute

// Main is what a TestMain has to do: the test's binary is the program itself in the processes that Start starts.
func Main(m *testing.M, main func()) {
	if os.Getenv(childVariable) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A Program is a process under test.
type Program struct {
	t     testing.TB
	cmd   *exec.Cmd
	lines chan string // of what it prints; closed at its end
	said  []string    // those that were taken from the channel
}

// Start runs the program with variables added to its environment. It is killed at the end of the test, or when it hangs.
func Start(t testing.TB, variables []string, args ...string) *Program {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	p := &Program{t: t, cmd: exec.CommandContext(ctx, os.Args[0], args...), lines: make(chan string, 1000)}
	p.cmd.Env = append(append(os.Environ(), variables...), childVariable+"=1")
	p.cmd.Stdout, p.cmd.Stderr = writer, writer
	err = p.cmd.Start()
	writer.Close()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.lines)
		defer reader.Close()
		for scanner := bufio.NewScanner(reader); scanner.Scan(); {
			p.lines <- scanner.Text()
		}
	}()
	t.Cleanup(func() {
		cancel()
		p.end()
	})
	return p
}

// Line waits for the next line that has the text in it, and returns it.
func (p *Program) Line(text string) string {
	p.t.Helper()
	for line := range p.lines {
		p.said = append(p.said, line)
		if strings.Contains(line, text) {
			return line
		}
	}
	p.t.Fatalf("the program ended without saying %q; it said:\n%s", text, strings.Join(p.said, "\n"))
	return ""
}

// Signal sends the process a signal. On Windows, which has none, it skips the rest of the test.
func (p *Program) Signal(signal os.Signal) {
	p.t.Helper()
	if runtime.GOOS == "windows" {
		p.t.Skip("Windows has no signals")
	}
	if err := p.cmd.Process.Signal(signal); err != nil {
		p.t.Fatal(err)
	}
}

// End waits for the end of the program, and returns its exit status and all that it has said.
func (p *Program) End() (status int, said string) {
	p.end()
	return p.cmd.ProcessState.ExitCode(), strings.Join(p.said, "\n")
}

// end waits for the end.
func (p *Program) end() {
	for line := range p.lines {
		p.said = append(p.said, line)
	}
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Wait() // a status other than 0 is an error
	}
}

// Trust writes a root certificate into a file and returns its path, and the variable that has a program trust it. On systems
// where programs in Go go by the system's own roots alone it skips the test.
func Trust(t testing.TB, root []byte) (path, variable string) {
	t.Helper()
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		t.Skip("programs in Go do not read SSL_CERT_FILE on this system: there is no way to have them trust the CA of the test")
	}
	path = filepath.Join(t.TempDir(), "root.pem")
	if err := os.WriteFile(path, root, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, "SSL_CERT_FILE=" + path
}

// StartCA starts a CA, once it is prepared, for which the name localhost leads to the address. The flags lead a program to
// it that has the variable in its environment.
func StartCA(t testing.TB, address string, prepare ...func(*acmetest.Server)) (ca *acmetest.Server, variable string, flags []string) {
	t.Helper()
	ca = acmetest.NewUnstartedServer()
	for _, f := range prepare {
		f(ca)
	}
	ca.Start()
	t.Cleanup(ca.Close)
	ca.SetHost("localhost", address)
	_, variable = Trust(t, ca.RootPEM())
	return ca, variable, []string{"-ca", ca.URL, "-agree", "-preflight", "off", "-storage", t.TempDir()}
}

// Address returns a loopback address to listen at, by TCP and UDP. Its port is below those that systems give to outgoing
// connections, so that none of them takes it meanwhile, and is given once.
func Address(t testing.TB) string {
	t.Helper()
	const lowest, highest = 10_000, 22_000
	for range 100 {
		port := lowest + rand.N(highest-lowest)
		if _, taken := given.LoadOrStore(port, true); taken {
			continue
		}
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		packets, err := net.ListenPacket("udp", listener.Addr().String())
		listener.Close()
		if err == nil {
			packets.Close()
			return listener.Addr().String()
		}
	}
	t.Fatal("no port is free")
	return ""
}

// given are the ports that Address has tried.
var given sync.Map
