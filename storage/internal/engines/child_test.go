package engines

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/everseal/everseal/storage/internal/server"
)

// A child is a copy of the test binary that does one thing until it is killed or its parent ends.
type child struct {
	command *exec.Cmd
	lines   chan string // what it prints; closed at its end
}

// startChild starts one, which inherits the files.
func startChild(t *testing.T, what string, arguments []string, files ...*os.File) *child {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{command: exec.Command(self, arguments...), lines: make(chan string, 10_000)}
	c.command.Env = append(os.Environ(), childVariable+"="+what)
	c.command.Stderr = t.Output()
	c.command.ExtraFiles = files
	if _, err := c.command.StdinPipe(); err != nil { // closed when this process ends
		t.Fatal(err)
	}
	out, err := c.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.lines)
		// A line that a kill has cut has no end.
		for reader := bufio.NewReader(out); ; {
			line, err := reader.ReadString('\n')
			if err != nil {
				return
			}
			c.lines <- strings.TrimSpace(line)
		}
	}()
	t.Cleanup(func() { c.kill() })
	return c
}

// kill ends the child as the kernel does that is out of memory, and returns what it had printed that nobody has read.
func (c *child) kill() (rest []string) {
	_ = c.command.Process.Kill()
	for line := range c.lines {
		rest = append(rest, line)
	}
	_ = c.command.Wait()
	return rest
}

// line returns the next line of the child.
func (c *child) line(t *testing.T) string {
	t.Helper()
	select {
	case line, ok := <-c.lines:
		if !ok {
			t.Fatal("the child has ended")
		}
		return line
	case <-time.After(3 * server.Patience):
		t.Fatal("the child says nothing")
	}
	return ""
}

// whileParentLives returns a context that ends with the parent.
func whileParentLives(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	return ctx, cancel
}

// A troop is the children of a test that do the same, of which some are killed and replaced.
type troop struct {
	start    func(i int) *child
	children []*child
	heard    func(line string)
	victim   func(speaker int, line string) int // who is killed now; -1: nobody yet
	lines    int                                // that were heard
	killed   int
}

// run starts four children and hears their lines until there are as many as wanted, while it kills as many as wanted.
func (tr *troop) run(t *testing.T, lines, kills int) {
	t.Helper()
	for i := range 4 {
		tr.children = append(tr.children, tr.start(i))
	}
	for tr.lines < lines || tr.killed < kills {
		var speaker int
		var line string
		var ok bool
		select {
		case line, ok = <-tr.children[0].lines:
		case line, ok = <-tr.children[1].lines:
			speaker = 1
		case line, ok = <-tr.children[2].lines:
			speaker = 2
		case line, ok = <-tr.children[3].lines:
			speaker = 3
		case <-time.After(3 * server.Patience):
			t.Fatalf("the children say nothing after %d lines", tr.lines)
		}
		if !ok {
			t.Fatal("a child has ended")
		}
		tr.hear(line)
		if tr.killed == kills || tr.lines < (tr.killed+1)*lines/(kills+1) {
			continue
		}
		if i := tr.victim(speaker, line); i >= 0 {
			tr.hear(tr.children[i].kill()...)
			tr.children[i] = tr.start(i)
			tr.killed++
		}
	}
	for _, c := range tr.children {
		tr.hear(c.kill()...)
	}
}

func (tr *troop) hear(lines ...string) {
	for _, line := range lines {
		tr.heard(line)
		tr.lines++
	}
}
