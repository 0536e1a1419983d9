package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// programVariable makes the test's binary the program itself.
const programVariable = "EVERSEAL_QUICKSTART"

func TestMain(m *testing.M) {
	if os.Getenv(programVariable) != "" {
		main()
	}
	os.Exit(m.Run())
}

// A program is the quickstart as a process of its own.
type program struct {
	t      *testing.T
	cmd    *exec.Cmd
	stderr bytes.Buffer
	lines  chan string // of its output; closed at its end
	said   []string    // lines that were taken from the channel
	curl   string      // the one of them that is the command
}

// start runs the program. It is killed at the end of the test, or when it hangs.
func start(t *testing.T, args ...string) *program {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	p := &program{t: t, cmd: exec.CommandContext(ctx, os.Args[0], args...), lines: make(chan string, 1000)}
	p.cmd.Env = append(os.Environ(), programVariable+"=1")
	p.cmd.Stderr = &p.stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go p.read(stdout)
	return p
}

func (p *program) read(stdout io.Reader) {
	defer close(p.lines)
	for scanner := bufio.NewScanner(stdout); scanner.Scan(); {
		p.lines <- scanner.Text()
	}
}

// line waits for the next line that has text in it.
func (p *program) line(text string) string {
	p.t.Helper()
	for line := range p.lines {
		p.said = append(p.said, line)
		if strings.HasPrefix(line, "curl ") {
			p.curl = line
		}
		if strings.Contains(line, text) {
			return line
		}
	}
	_ = p.cmd.Wait() // so that all of stderr has come
	p.t.Fatalf("the program ended without saying %q; it said:\n%s\n%s", text, strings.Join(p.said, "\n"), p.stderr.String())
	return ""
}

// served waits for the next certificate and returns its serial number.
func (p *program) served() string {
	p.t.Helper()
	line := p.line("It is served now")
	match := regexp.MustCompile("serial number ([0-9a-f]{32}),").FindStringSubmatch(line)
	if match == nil {
		p.t.Fatalf("no serial number in %q", line)
	}
	return match[1]
}

// curlLine waits for the command that gets the page, unless it has come already.
func (p *program) curlLine() string {
	p.t.Helper()
	for p.curl == "" {
		p.line("curl ")
	}
	return p.curl
}

// stop sends the signal, waits for the end and returns the exit status.
func (p *program) stop(signal os.Signal) int {
	p.t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		p.t.Fatal(err)
	}
	for line := range p.lines {
		p.said = append(p.said, line)
	}
	_ = p.cmd.Wait() // an exit status other than 0 is an error
	return p.cmd.ProcessState.ExitCode()
}

// output returns all that the program has said so far.
func (p *program) output() string { return strings.Join(p.said, "\n") }

// needCurl ends the test where there is no curl, which CI has to have.
func needCurl(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("curl"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("curl is not installed, and CI must not go without the tests that need it")
		}
		t.Skip("curl is not installed: the command that the program prints can't be tried")
	}
}

// page runs the command as a user's shell would and returns the page.
func page(t *testing.T, command string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "sh", "-c", command)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, stderr.String())
	}
	return stdout.String()
}

// shownSerial returns the serial number that the page shows.
func shownSerial(t *testing.T, page string) string {
	t.Helper()
	match := regexp.MustCompile("<code>([0-9a-f]{32})</code>").FindStringSubmatch(page)
	if match == nil {
		t.Fatalf("no serial number in the page:\n%s", page)
	}
	return match[1]
}

// rootPath returns the file that the command names.
func rootPath(t *testing.T, command string) string {
	t.Helper()
	words := strings.Fields(command)
	for i, word := range words[:len(words)-1] {
		if word == "--cacert" && filepath.IsAbs(words[i+1]) {
			return words[i+1]
		}
	}
	t.Fatalf("no absolute path after --cacert in %q", command)
	return ""
}
