package sql

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
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

func startChild(t *testing.T, what string, arguments ...string) *child {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{command: exec.Command(self, arguments...), lines: make(chan string, 10_000)}
	c.command.Env = append(os.Environ(), childVariable+"="+what)
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
	case <-time.After(server.Patience):
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

// childSave saves numbers without end and prints each once it is stored.
func childSave(ctx context.Context, arguments []string) error {
	ctx, cancel := whileParentLives(ctx)
	defer cancel()
	s, err := Open(ctx, arguments[0], Config{})
	if err != nil {
		return err
	}
	defer s.Close()
	for {
		var n int
		_, err := storage.Update(ctx, s, "number", func(old []byte) ([]byte, error) {
			var err error
			if n, err = numberOf(old); err != nil {
				return nil, err
			}
			n++
			return numbered(n), nil
		})
		if err != nil {
			return err
		}
		fmt.Println(n)
	}
}

// numbered returns a value that shows whether it is whole.
func numbered(n int) []byte { return []byte(strings.Repeat(strconv.Itoa(n)+"\n", 1+n*37%2000)) }

func numberOf(value []byte) (int, error) {
	if len(value) == 0 {
		return 0, nil
	}
	first, _, _ := strings.Cut(string(value), "\n")
	n, err := strconv.Atoi(first)
	if err == nil && string(value) != string(numbered(n)) {
		err = errors.New("the value is not whole")
	}
	return n, err
}

// A process that saves is killed again and again. What it had reported is stored, or its next save is, whole.
func TestSQLiteKilledWriter(t *testing.T) {
	saves := 2000
	if raceDetector {
		saves = 200
	}
	d := newSQLiteTarget(t)
	last, kills := 0, 0
	for last < saves {
		c := startChild(t, "save", d.url)
		for range 1 + rand.IntN(saves/15) {
			n, err := strconv.Atoi(c.line(t))
			if err != nil || n != last+1 {
				t.Fatalf("the child has saved %d after %d (%v)", n, last, err)
			}
			last = n
		}
		for _, line := range c.kill() {
			n, err := strconv.Atoi(line)
			if err != nil || n != last+1 {
				t.Fatalf("the child has saved %d after %d (%v)", n, last, err)
			}
			last = n
		}
		kills++
		s := d.open(t)
		item, err := s.Load(t.Context(), "number")
		if err != nil {
			t.Fatal(err)
		}
		stored, err := numberOf(item.Value)
		if err != nil || stored != last && stored != last+1 {
			t.Fatalf("after kill %d: %d is stored, %v; the child had reported %d", kills, stored, err, last)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		last = stored
	}
	var report string
	s := d.open(t)
	if err := s.pool.query(t.Context(), func(columns [][]byte) { report = string(columns[0]) }, "PRAGMA integrity_check"); err != nil || report != "ok" {
		t.Errorf("the file is damaged: %s, %v", report, err)
	}
	t.Logf("%d saves, %d kills", last, kills)
}
