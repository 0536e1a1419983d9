//go:build unix

package solver_test

import (
	"os"
	"syscall"
	"testing"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/internal/solvertest"
)

// Another user's server must be able to read the answer, whatever this process's umask is.
func TestWebrootModes(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	dir := t.TempDir()
	p := solvertest.NewProof(acme.TypeHTTP01, "example.com")
	solvertest.Present(t, &solver.Webroot{Dir: dir}, p)
	for path, want := range map[string]os.FileMode{
		"/.well-known":                0o755 | os.ModeDir,
		"/" + answers:                 0o755 | os.ModeDir,
		"/" + answers + "/" + p.Token: 0o644,
	} {
		info, err := os.Stat(dir + path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode(), want)
		}
	}
}
