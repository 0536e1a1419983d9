package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Who waits in vain for a process that was suspended in the midst of a change is told which it is.
func TestStoppedHolderIsNamed(t *testing.T) {
	d := Dir(t.TempDir())
	revision, err := d.Save(t.Context(), "a/b", []byte("x"), "")
	if err != nil {
		t.Fatal(err)
	}
	child := startChild(t, "lock", d)
	child.line(t)
	save := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := d.Save(ctx, "a/b", []byte("y"), revision)
		return err
	}
	pid := child.cmd.Process.Pid
	if err := save(); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), fmt.Sprintf("held by process %d;", pid)) {
		t.Errorf("%v, want an error that names process %d", err, pid)
	}
	if err := child.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for !strings.Contains(describeProcess(pid), "stopped") {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err != nil {
			t.Fatal(err)
		}
		runtime.Gosched()
	}
	if err := save(); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("kill -CONT %d", pid)) || !strings.Contains(err.Error(), "50ms") && !strings.Contains(err.Error(), "ms in which") {
		t.Errorf("%v, want an error that says how process %d goes on", err, pid)
	}
	child.kill(t)
	if err := save(); err != nil {
		t.Errorf("after that process was killed: %v", err)
	}
}
