//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package deploy_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/deploy"
	"github.com/everseal/everseal/storage"
)

// childVariable has the folder of a deployment that this program does in place of tests.
const childVariable = "EVERSEAL_DEPLOY_CHILD"

func TestMain(m *testing.M) {
	if folder := os.Getenv(childVariable); folder != "" {
		if err := child(folder); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// newChildManager returns a manager with the storage in a folder, at work.
func newChildManager(ctx context.Context, folder string) (*certmanager.Manager, error) {
	m, err := certmanager.New(certmanager.Config{
		Names: []string{"example.test"}, Issuers: []certmanager.Issuer{new(certmanager.LocalCA)},
		Storage: storage.Dir(filepath.Join(folder, "storage")), Logger: slog.New(slog.DiscardHandler), SweepInterval: -1,
	})
	if err != nil {
		return nil, err
	}
	return m, m.Load(ctx)
}

// newChildDeployer returns one for the folder, whose command notes of which certificate it was run.
func newChildDeployer(m *certmanager.Manager, folder string, oneFile bool) *deploy.Deployer {
	return &deploy.Deployer{
		Manager: m, Dir: filepath.Join(folder, "live"), OneFile: oneFile, Logger: slog.New(slog.DiscardHandler),
		Command: []string{"sh", "-c", `cat "$RENEWED_LINEAGE"/fullchain.pem "$RENEWED_LINEAGE" >"$0" 2>/dev/null; true`, filepath.Join(folder, "seen")},
	}
}

// child deploys once what is stored, from one thread, whose calls strace counts, and returns whatever comes of it.
func child(folder string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	m, err := newChildManager(ctx, folder)
	if err != nil {
		return err
	}
	d := newChildDeployer(m, folder, os.Getenv(childVariable+"_ONE_FILE") != "")
	d.OnResult = func(deploy.Result) { cancel() }
	runtime.LockOSThread()
	return d.Run(ctx)
}

// A crash at any call that changes files, and a failure of any, leave a certificate with its key, the old or the new one. The
// next start ends what is left to do, and runs the command.
func TestCrash(t *testing.T) {
	if runtime.GOOS != "linux" || testing.Short() || raceDetector {
		t.Skip("strace is Linux's, and slow; one goroutine does what is tested here")
	}
	for _, oneFile := range []bool{false, true} {
		for _, fault := range []string{"signal=KILL", "error=EIO"} {
			t.Run(fmt.Sprintf("%s, OneFile %v", fault, oneFile), func(t *testing.T) {
				t.Parallel()
				testCrash(t, oneFile, fault)
			})
		}
	}
}

// testCrash has a child deploy, again and again, with a fault at another call each time. What is read does no harm: those that
// change files are tried.
func testCrash(t *testing.T, oneFile bool, fault string) {
	const mostCalls = 50
	folder := t.TempDir()
	m, err := newChildManager(t.Context(), folder)
	if err != nil {
		t.Fatal(err)
	}
	runs(t, m.Run)
	if err := m.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.Renew(t.Context(), "example.test"); err != nil { // it returns when the child finds it stored, as Wait does not
		t.Fatal(err)
	}
	faults, before := 0, ""
	for _, call := range []string{"mkdirat", "symlinkat", "renameat", "unlinkat", "fsync", "fchmod", "fchmodat"} {
		for n := 1; ; n++ {
			if n > mostCalls {
				t.Fatalf("a deployment calls %s more than %d times", call, mostCalls)
			}
			isReached := runTraced(t, folder, oneFile, fmt.Sprintf("%s:%s:when=%d", call, fault, n))
			before = afterFault(t, m, folder, oneFile, before)
			if t.Failed() {
				t.Fatalf("after the fault at %s %d", call, n)
			}
			if err := m.Renew(t.Context(), "example.test"); err != nil {
				t.Fatal(err)
			}
			if !isReached {
				break
			}
			faults++
		}
	}
	if least := map[bool]int{false: 25, true: 8}[oneFile]; faults < least {
		t.Errorf("there were %d faults, want %d at least", faults, least)
	}
}

// afterFault looks at what a fault has left, starts again, and looks at that. It returns the certificate of the files.
func afterFault(t *testing.T, m *certmanager.Manager, folder string, oneFile bool, before string) (after string) {
	t.Helper()
	path := childPath(folder, oneFile)
	served, _ := m.Certificate("example.test")
	after = string(served.Certificate[0])
	leaf, err := leafOf(path)
	switch {
	case before == "" && errors.Is(err, os.ErrNotExist): // the first was never there as a whole
	case err != nil:
		t.Error(err)
	case leaf != before && leaf != after:
		t.Error("the files hold another certificate")
	}
	synctest.Test(t, func(t *testing.T) {
		d := newChildDeployer(m, folder, oneFile)
		d.OnResult = func(r deploy.Result) {
			if r.Err != nil {
				t.Error(r.Err)
			}
		}
		stop := runs(t, d.Run)
		time.Sleep(time.Minute)
		stop()
	})
	if leaf, err = leafOf(path); err != nil || leaf != after {
		t.Errorf("the next start does not mend it: %v", err)
		return after
	}
	if seen, err := os.ReadFile(filepath.Join(folder, "seen")); err != nil || !bytes.Contains(seen, chainOf(t, path)) {
		t.Errorf("the command was not run for the certificate: %v", err)
	}
	return after
}

func childPath(folder string, oneFile bool) string {
	if oneFile {
		return filepath.Join(folder, "live", "example.test.pem")
	}
	return filepath.Join(folder, "live", "example.test")
}

// chainOf returns what the file with the chain has, or all of the one file.
func chainOf(t *testing.T, path string) []byte {
	t.Helper()
	if !strings.HasSuffix(path, ".pem") {
		path = filepath.Join(path, "fullchain.pem")
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// runTraced runs the child under strace, which injects a fault, and reports whether that came.
func runTraced(t *testing.T, folder string, oneFile bool, fault string) (isReached bool) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(folder, "trace")
	traced, _, _ := strings.Cut(fault, ":")
	arguments := []string{"-f", "-o", log, "-e", "trace=" + traced, "-e", "inject=" + fault}
	if strings.Contains(fault, "error=") {
		arguments = append(arguments, "--seccomp-bpf") // which is faster, and sends no signals
	}
	command := exec.CommandContext(t.Context(), "strace", append(arguments, program)...)
	command.Env = append(os.Environ(), childVariable+"="+folder)
	if oneFile {
		command.Env = append(command.Env, childVariable+"_ONE_FILE=1")
	}
	output, err := command.CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) || strings.Contains(string(output), "ptrace") {
		if os.Getenv("CI") != "" {
			t.Fatalf("strace can't be used: %v\n%s", err, output)
		}
		t.Skipf("strace can't be used: %v\n%s", err, output)
	}
	calls, readErr := os.ReadFile(log)
	if readErr != nil {
		t.Fatal(readErr)
	}
	status, ok := command.ProcessState.Sys().(syscall.WaitStatus) // strace ends as the child does
	isReached = strings.Contains(string(calls), "(INJECTED)") || ok && status.Signal() == syscall.SIGKILL
	if err != nil && !isReached {
		t.Fatalf("%v: %s", err, output)
	}
	return isReached
}
