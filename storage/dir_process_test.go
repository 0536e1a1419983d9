package storage

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// childVariable names what a copy of the test binary does in place of the tests. Its folder is the argument.
const childVariable = "EVERSEAL_STORAGE_TEST_CHILD"

func TestMain(m *testing.M) {
	children := map[string]func(context.Context, Dir) error{
		"write": childWrite, "count": childCount, "lock": childLock, "hold": childHold, "watch": childWatch, "durable": childDurable,
	}
	child, ok := children[os.Getenv(childVariable)]
	if !ok {
		os.Exit(m.Run())
	}
	if err := child(context.Background(), Dir(os.Args[1])); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// A process is a running child.
type process struct {
	cmd *exec.Cmd
	out *bufio.Reader
}

func startChild(t *testing.T, what string, d Dir) *process {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, string(d))
	cmd.Env = append(os.Environ(), childVariable+"="+what)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cmd.StdinPipe(); err != nil { // closed when this process ends
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // what it writes to is removed next
	})
	return &process{cmd: cmd, out: bufio.NewReader(out)}
}

// line returns the next line that the child has printed.
func (p *process) line(t *testing.T) string {
	t.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil {
		t.Fatalf("the child has ended: %v", err)
	}
	return strings.TrimSpace(line)
}

// kill ends the child as a power cut would and returns what it had printed since the last line read.
func (p *process) kill(t *testing.T) []string {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(p.out)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err == nil {
		t.Fatal("the child has ended by itself")
	}
	complete := rest[:bytes.LastIndexByte(rest, '\n')+1]
	return strings.Fields(string(complete))
}

// waitForKill keeps a child alive until it is killed or its parent is gone.
func waitForKill() error {
	fmt.Println("ready")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// numbered returns a value that shows whether it is whole.
func numbered(n int) []byte {
	return bytes.Repeat(fmt.Appendf(nil, "%d\n", n), 1+n*37%5000)
}

// childWrite saves numbers without end and prints each once it is stored.
func childWrite(ctx context.Context, d Dir) error {
	for {
		var n int
		_, err := Update(ctx, d, "folder/number", func(old []byte) ([]byte, error) {
			var err error
			n, err = numberOf(old)
			n++
			return numbered(n), err
		})
		if err != nil {
			return err
		}
		fmt.Println(n)
		if n%7 == 0 { // the folder comes and goes too
			if err := deleteNumber(ctx, d, n); err != nil {
				return err
			}
		}
	}
}

// deleteNumber removes the record and saves the number again.
func deleteNumber(ctx context.Context, d Dir, n int) error {
	item, err := d.Load(ctx, "folder/number")
	if err != nil {
		return err
	}
	if _, err := Update(ctx, d, "backup", func([]byte) ([]byte, error) { return numbered(n), nil }); err != nil {
		return err
	}
	if err := d.Delete(ctx, "folder/number", item.Revision); err != nil {
		return err
	}
	_, err = d.Save(ctx, "folder/number", numbered(n), "")
	return err
}

func numberOf(value []byte) (int, error) {
	if value == nil {
		return 0, nil
	}
	first, _, _ := strings.Cut(string(value), "\n")
	n, err := strconv.Atoi(first)
	if err == nil && !bytes.Equal(value, numbered(n)) {
		err = errors.New("the value is broken")
	}
	return n, err
}

// TestDirKilledWriter kills a writer again and again. What it had reported is stored, or its next write is, whole.
func TestDirKilledWriter(t *testing.T) {
	d := Dir(t.TempDir())
	last := 0
	for round := range 25 {
		child := startChild(t, "write", d)
		for range 1 + rand.IntN(20) {
			n, err := strconv.Atoi(child.line(t))
			if err != nil || n != last+1 {
				t.Fatalf("round %d: the child has stored %d after %d (%v)", round, n, last, err)
			}
			last = n
		}
		for _, line := range child.kill(t) {
			last, _ = strconv.Atoi(line)
		}
		stored := storedNumber(t, d)
		if stored != last && stored != last+1 {
			t.Fatalf("round %d: %d is stored, but the child had reported %d", round, stored, last)
		}
		last = stored
		if last == 0 {
			t.Fatal("nothing was stored")
		}
	}
	leftovers, err := filepath.Glob(filepath.Join(string(d), tempFolder, "*", "*"))
	if err != nil || len(leftovers) > 2 {
		t.Errorf("%d leftover files %v (%v), want one for each of the two keys at most", len(leftovers), leftovers, err)
	}
	for _, key := range []string{"folder/number", "backup"} {
		if _, err := Update(t.Context(), d, key, func([]byte) ([]byte, error) { return []byte("end"), nil }); err != nil {
			t.Error(err)
		}
	}
	if leftovers, _ := filepath.Glob(filepath.Join(string(d), tempFolder, "*", "*")); len(leftovers) != 0 {
		t.Errorf("the next writes have left %v", leftovers)
	}
}

// storedNumber returns the number that is stored after a kill. While a child deletes the record, its backup counts.
func storedNumber(t *testing.T, d Dir) int {
	t.Helper()
	item, err := d.Load(t.Context(), "folder/number")
	if err != nil {
		if item, err = d.Load(t.Context(), "backup"); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Save(t.Context(), "folder/number", item.Value, ""); err != nil {
			t.Fatal(err)
		}
	}
	n, err := numberOf(item.Value)
	if err != nil || strings.HasPrefix(string(item.Revision), "content-") {
		t.Fatalf("a record is broken after a kill: %.60q, revision %q (%v)", item.Value, item.Revision, err)
	}
	return n
}

const increments = 150

func childCount(ctx context.Context, d Dir) error {
	for range increments {
		if err := incrementOnce(ctx, d); err != nil {
			return err
		}
	}
	fmt.Println("done")
	return nil
}

func incrementOnce(ctx context.Context, d Dir) error {
	_, err := Update(ctx, d, "counter", func(old []byte) ([]byte, error) {
		n, _ := strconv.Atoi(string(old))
		return strconv.AppendInt(nil, int64(n+1), 10), nil
	})
	return err
}

func TestDirTwoProcessesCount(t *testing.T) {
	d := Dir(t.TempDir())
	children := []*process{startChild(t, "count", d), startChild(t, "count", d)}
	for _, child := range children {
		if line := child.line(t); line != "done" {
			t.Fatalf("a child says %q", line)
		}
		if err := child.cmd.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	item, err := d.Load(t.Context(), "counter")
	if want := strconv.Itoa(len(children) * increments); err != nil || string(item.Value) != want {
		t.Errorf("the counter is %q (%v), want %s", item.Value, err, want)
	}
}

func childLock(ctx context.Context, d Dir) error {
	root, err := openFolder(string(d), true)
	if err != nil {
		return err
	}
	if _, err := lockShard(ctx, root, shardOf("a/b")); err != nil {
		return err
	}
	return waitForKill()
}

func TestDirLockObeysContext(t *testing.T) {
	d := Dir(t.TempDir())
	revision, err := d.Save(t.Context(), "a/b", []byte("x"), "")
	if err != nil {
		t.Fatal(err)
	}
	child := startChild(t, "lock", d)
	child.line(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := d.Save(ctx, "a/b", []byte("y"), revision); !errors.Is(err, context.DeadlineExceeded) || strings.Count(err.Error(), "storage: ") != 1 {
		t.Errorf("Save while another process holds the lock: %v, want the context's error, and one prefix", err)
	}
	if err := d.Delete(ctx, "a/b", revision); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Delete: %v, want the context's error", err)
	}
	if item, err := d.Load(t.Context(), "a/b"); err != nil || item.Revision != revision {
		t.Errorf("Load while another process holds the lock: %q, %v", item, err)
	}
	child.kill(t)
	if _, err := d.Save(t.Context(), "a/b", []byte("y"), revision); err != nil {
		t.Errorf("Save after that process was killed: %v", err)
	}
}

func childHold(ctx context.Context, d Dir) error {
	lease, err := Acquire(ctx, d, "lease", time.Hour)
	if err != nil {
		return err
	}
	if err := lease.Save(ctx, []byte("left behind")); err != nil {
		return err
	}
	return waitForKill()
}

func ownerFiles(t *testing.T, d Dir) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(string(d), ownerFolder))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// TestDirKilledHolder would take an hour if anybody waited for the term.
func TestDirKilledHolder(t *testing.T) {
	d := Dir(t.TempDir())
	for round := range 3 {
		child := startChild(t, "hold", d)
		child.line(t)
		owners := ownerFiles(t, d)
		if len(owners) != 1 {
			t.Fatalf("%d owners are marked, want 1: %q", len(owners), owners)
		}
		if dead, err := d.OwnerDead(t.Context(), owners[0]); dead || err != nil {
			t.Errorf("the owner is taken for dead while it lives: %t, %v", dead, err)
		}
		child.kill(t)
		if round == 1 { // as if another had tidied up
			if err := os.Remove(filepath.Join(string(d), ownerFolder, owners[0])); err != nil {
				t.Fatal(err)
			}
		}
		lease, err := Acquire(t.Context(), d, "lease", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(lease.Value()); got != "left behind" {
			t.Errorf("the lease carries %q", got)
		}
		if owners := ownerFiles(t, d); len(owners) != 1 || owners[0] != lease.owner {
			t.Errorf("%q are marked, want only the new owner %q", owners, lease.owner)
		}
		if err := lease.Release(t.Context()); err != nil {
			t.Error(err)
		}
		if owners := ownerFiles(t, d); len(owners) != 0 {
			t.Errorf("%q are marked after the release", owners)
		}
	}
}
