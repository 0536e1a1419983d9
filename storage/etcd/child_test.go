package etcd

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/server"
)

// A child is a copy of the test binary that does one thing until it is killed or its parent ends.
type child struct {
	command *exec.Cmd
	lines   chan string // what it prints; closed at its end
}

func startChild(t *testing.T, arguments ...string) *child {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{command: exec.Command(self, arguments...), lines: make(chan string, 10)}
	c.command.Env = append(os.Environ(), childVariable+"=hold")
	c.command.Stderr = t.Output()
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
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			c.lines <- strings.TrimSpace(scanner.Text())
		}
	}()
	t.Cleanup(c.kill)
	return c
}

// kill ends the child as the kernel does that is out of memory.
func (c *child) kill() {
	_ = c.command.Process.Kill()
	for range c.lines { // until its end
	}
	_ = c.command.Wait()
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
	case <-time.After(server.Patience):
		t.Fatal("the child says nothing")
	}
	return ""
}

// childHold takes a lease of an hour, says so, and holds it.
func childHold(ctx context.Context, arguments []string) error {
	s, err := Open(ctx, arguments[0], Config{})
	if err != nil {
		return err
	}
	defer s.Close()
	lease, err := storage.Acquire(ctx, s, "lease", time.Hour)
	if err != nil {
		return err
	}
	if err := lease.Save(ctx, []byte("left behind")); err != nil {
		return err
	}
	fmt.Println("held")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
