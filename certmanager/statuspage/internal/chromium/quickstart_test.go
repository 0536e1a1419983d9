package chromium

import (
	"bufio"
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/security"
)

// A visitor who leaves the quickstart's page open sees it count down, and the renewal; and finds the status page.
func TestQuickstart(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser takes seconds")
	}
	t.Parallel()
	p := open(t)
	q := startQuickstart(t, "-lifetime", "15s", "-storage", t.TempDir())
	command := q.line("curl ")
	p.do(call(security.SetIgnoreCertificateErrors, security.SetIgnoreCertificateErrorsParams{Ignore: true}))
	p.visit(command[strings.LastIndex(command, " ")+1:])
	p.eval("window.first = document.querySelector('code').textContent, window.countdowns = new Set()")
	p.wait("countdowns.add(document.querySelector('time').textContent).size > 1")
	p.wait("document.querySelector('code').textContent !== first && document.getElementById('renewed').textContent.includes('renewed')")
	q.line("serial number " + valueOf[string](p, "document.querySelector('code').textContent"))
	p.follow(run("document.querySelector('a').click()"))
	is(p, "document.querySelector('h1').textContent", "The certificate is valid")
	is(p, "document.querySelector('.list').textContent.includes('localhost')", true)
	p.quiet()
}

// A quickstart is that program as a process of its own.
type quickstart struct {
	t      testing.TB
	lines  *bufio.Scanner
	stderr bytes.Buffer
	said   []string
	wait   func() error
}

// startQuickstart builds the program and runs it until the test ends.
func startQuickstart(t testing.TB, args ...string) *quickstart {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	program := filepath.Join(t.TempDir(), "quickstart")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./quickstart")
	build.Dir = filepath.FromSlash("../../../../examples")
	if out, err := build.CombinedOutput(); err != nil {
		cancel()
		t.Fatalf("the quickstart can't be built: %v\n%s", err, out)
	}
	cmd := exec.CommandContext(ctx, program, args...)
	q := &quickstart{t: t, wait: cmd.Wait}
	cmd.Stderr = &q.stderr
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	q.lines = bufio.NewScanner(stdout)
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was killed, or has been waited for
	})
	return q
}

// line waits for the next line that has text in it.
func (q *quickstart) line(text string) string {
	q.t.Helper()
	for q.lines.Scan() {
		q.said = append(q.said, q.lines.Text())
		if strings.Contains(q.lines.Text(), text) {
			return q.lines.Text()
		}
	}
	_ = q.wait() // so that all of stderr has come
	q.t.Fatalf("the program ended without saying %q; it said:\n%s\n%s", text, strings.Join(q.said, "\n"), q.stderr.String())
	return ""
}
