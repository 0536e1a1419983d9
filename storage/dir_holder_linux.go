package storage

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// lockHolder says which process holds the lock of a file, as far as the kernel tells, and what state it is in. It is
// empty if nothing is known: of processes in another container, or on another machine.
func lockHolder(root *os.Root, name string) string {
	const maxLocks = 1 << 20 // bytes that are read of the kernel's list
	info, err := root.Stat(name)
	if err != nil {
		return ""
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	locks, err := os.Open("/proc/locks")
	if err != nil {
		return ""
	}
	defer locks.Close()
	list, err := io.ReadAll(io.LimitReader(locks, maxLocks))
	if err != nil {
		return ""
	}
	// 1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF
	for line := range strings.Lines(string(list)) {
		fields := strings.Fields(line)
		if len(fields) < 6 || fields[1] != "FLOCK" || !strings.HasSuffix(fields[5], ":"+strconv.FormatUint(stat.Ino, 10)) {
			continue
		}
		if pid, err := strconv.Atoi(fields[4]); err == nil && pid > 0 {
			return describeProcess(pid)
		}
	}
	return ""
}

// describeProcess names a process and, if it has been stopped, what lets it continue.
func describeProcess(pid int) string {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return fmt.Sprintf("process %d", pid)
	}
	// The command stands in parentheses and may hold some itself; the state follows the last.
	_, rest, _ := bytes.Cut(status[bytes.LastIndexByte(status, ')')+1:], []byte(" "))
	if len(rest) > 0 && (rest[0] == 'T' || rest[0] == 't') {
		return fmt.Sprintf("process %d, which is stopped: kill -CONT %d lets it continue", pid, pid)
	}
	return fmt.Sprintf("process %d", pid)
}
