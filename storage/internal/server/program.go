package server

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Find returns where a program is, in PATH or where Debian has it. It returns an error for which [Skip] skips if it is
// not installed.
func Find(program string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin/", "/usr/sbin/"} {
		if found, _ := filepath.Glob(pattern + program); len(found) > 0 {
			return found[len(found)-1], nil
		}
	}
	return "", fmt.Errorf("%s: %w", program, errMissing)
}

// Build builds the program whose module is in the folder, and which that module names as a tool by the folder's name,
// unless Go's cache has it. Its dependencies are its own, not the workspace's, and it is built without the race detector.
// Build returns the program's path, which [New] takes, or an error for which [Skip] skips if that can't be had.
func Build(folder string) (program string, err error) {
	command := exec.Command("go", "tool", "-n", filepath.Base(folder))
	command.Dir = folder
	command.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS="+strings.TrimSpace(os.Getenv("GOFLAGS")+" -mod=readonly"))
	output, err := command.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			output = exit.Stderr
		}
		return "", fmt.Errorf("the server in %s can't be built: %w: %w\n%s", folder, err, errMissing, output)
	}
	return strings.TrimSpace(string(output)), nil
}

// BuildLarge is [Build] for a program that takes minutes to build: that is done in CI alone, or where it was asked for by the
// environment variable EVERSEAL_LARGE_SERVERS=1.
func BuildLarge(folder string) (program string, err error) {
	if os.Getenv("CI") == "" && os.Getenv("EVERSEAL_LARGE_SERVERS") == "" {
		return "", fmt.Errorf("%s takes minutes to build: set EVERSEAL_LARGE_SERVERS=1 to have it built (%w)", filepath.Base(folder), errMissing)
	}
	return Build(folder)
}

// Skip skips the test for an error of a program that is missing, but not in CI, which has installed it: there, and for any
// other error, the test fails.
func Skip(t testing.TB, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if errors.Is(err, errMissing) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	t.Fatal(err)
}
