package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// childDurable does the changes that TestDirIsDurable follows, and marks where each begins and ends by looking for a
// file that is not there.
func childDurable(ctx context.Context, d Dir) error {
	mark := func(name string) { _, _ = os.Open("/mark-" + name) }
	mark("create")
	first, err := d.Save(ctx, "a/b/c", []byte("1"), "")
	if err != nil {
		return err
	}
	mark("swap")
	second, err := d.Save(ctx, "a/b/c", []byte("2"), first)
	if err != nil {
		return err
	}
	mark("delete")
	if err := d.Delete(ctx, "a/b/c", second); err != nil {
		return err
	}
	mark("end")
	return nil
}

// trace runs a child under strace and returns its calls, one a line: the name and the paths, in order. Descriptors
// are replaced by their paths, and those by what follows folder.
func trace(t *testing.T, folder string, child string, d Dir) []string {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("strace is Linux's")
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(t.TempDir(), "trace")
	cmd := exec.CommandContext(t.Context(), "strace", "-f", "-y", "-s", "256", "-o", log,
		"-e", "trace=write,pwrite64,fsync,fdatasync,open,openat,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat", program, string(d))
	cmd.Env = append(os.Environ(), childVariable+"="+child)
	out, err := cmd.CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) || strings.Contains(string(out), "ptrace") {
		if os.Getenv("CI") == "true" {
			t.Fatalf("strace can't be used: %v\n%s", err, out)
		}
		t.Skipf("strace can't be used: %v\n%s", err, out)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	content, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	return readTrace(string(content), folder)
}

var (
	traced     = regexp.MustCompile(`^\d+ +(\w+)\((.*)\) += (\d+|-1 E\w+)`)
	unfinished = regexp.MustCompile(`^(\d+) +(.*) <unfinished \.\.\.>$`)
	resumed    = regexp.MustCompile(`^(\d+) +<\.\.\. \w+ resumed>(.*)$`)
	pathArg    = regexp.MustCompile(`<([^>]*)>, "([^"]*)"|<([^>]*)>`)
)

// readTrace returns the calls that succeeded, and the marks. Of a call that others interrupt, the end counts.
func readTrace(content, folder string) (calls []string) {
	begun := make(map[string]string)
	for line := range strings.Lines(content) {
		line = strings.TrimSuffix(line, "\n")
		if parts := unfinished.FindStringSubmatch(line); parts != nil {
			begun[parts[1]] = parts[2]
			continue
		}
		if parts := resumed.FindStringSubmatch(line); parts != nil {
			line = parts[1] + " " + begun[parts[1]] + parts[2]
		}
		parts := traced.FindStringSubmatch(line)
		if parts == nil {
			continue
		}
		name, arguments, result := parts[1], parts[2], parts[3]
		if _, mark, found := strings.Cut(arguments, `"/mark-`); found {
			calls = append(calls, "== "+strings.TrimSuffix(strings.Split(mark, `"`)[0], `"`))
			continue
		}
		if strings.HasPrefix(result, "-1") || name == "openat" && !strings.Contains(arguments, "O_CREAT") {
			continue
		}
		var paths []string
		for _, path := range pathArg.FindAllStringSubmatch(arguments, -1) {
			if name == "write" || name == "pwrite64" {
				path[2] = "" // what is written
			}
			paths = append(paths, filepath.Join(path[1], path[2], path[3]))
		}
		call := strings.ReplaceAll(strings.TrimSuffix(name, "at"), "renameat2", "rename") + " " + strings.Join(paths, " ")
		calls = append(calls, strings.ReplaceAll(call, folder, ""))
	}
	return calls
}

// TestDirIsDurable follows the calls that reach the kernel: nothing counts as done that a power cut may undo.
func TestDirIsDurable(t *testing.T) {
	folder, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	calls := trace(t, folder, "durable", Dir(filepath.Join(folder, "made", "dir")))
	shard := shardOf("a/b/c")
	temp := `/made/dir/\.temp/` + shard + `/\w+`
	save := []string{"open " + temp, "write " + temp, "fsync " + temp, "rename " + temp + " /made/dir/a/b/c\\.item", "fsync /made/dir/a/b"}
	for _, want := range []struct {
		from, to string
		calls    []string // in this order, with others between
	}{
		{"create", "swap", []string{"mkdir .*/made", "fsync "}},
		{"create", "swap", []string{"mkdir .*/made/dir", "fsync /made"}},
		{"create", "swap", []string{`mkdir /made/dir/\.temp`, "fsync /made/dir"}},
		{"create", "swap", []string{"mkdir /made/dir/a", "fsync /made/dir", "mkdir /made/dir/a/b", "fsync /made/dir/a", save[3]}},
		{"create", "swap", save},
		{"swap", "delete", save},
		{"delete", "end", []string{`unlink /made/dir/a/b/c\.item`, "fsync /made/dir/a/b"}},
	} {
		section := between(calls, "== "+want.from, "== "+want.to)
		rest := section
		for _, call := range want.calls {
			pattern := regexp.MustCompile("^" + call + "$")
			for len(rest) > 0 && !pattern.MatchString(rest[0]) {
				rest = rest[1:]
			}
			if len(rest) == 0 {
				t.Errorf("%s: %q is missing in the order %q; there are\n%s", want.from, call, want.calls, strings.Join(section, "\n"))
				break
			}
			rest = rest[1:]
			if strings.HasPrefix(call, "fsync "+temp) && slices.ContainsFunc(rest, regexp.MustCompile("^p?write(64)? "+temp).MatchString) {
				t.Errorf("%s: the file is written after it was flushed:\n%s", want.from, strings.Join(section, "\n"))
			}
		}
	}
}

// between returns the lines between two.
func between(lines []string, from, to string) []string {
	var found []string
	inside := false
	for _, line := range lines {
		switch line {
		case from:
			inside = true
		case to:
			return found
		default:
			if inside {
				found = append(found, line)
			}
		}
	}
	return append(found, fmt.Sprintf("(%s is not reached)", to))
}
