package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// On a new machine the go command downloads what gorelease is built of, and says so.
func TestGoreleaseOfAnEmptyModuleCache(t *testing.T) {
	out, err := exec.Command("go", "env", "GOMODCACHE", "GOPROXY", "GOFLAGS").Output()
	if err != nil {
		t.Fatal(err)
	}
	had := strings.Split(string(out), "\n")
	t.Setenv("GOPROXY", "file://"+filepath.ToSlash(filepath.Join(had[0], "cache", "download"))+","+had[1])
	t.Setenv("GOMODCACHE", t.TempDir())
	t.Setenv("GOFLAGS", strings.TrimSpace(had[2]+" -modcacherw -trimpath")) // -trimpath: what is built need not be built again next time
	program, err := gorelease(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(program); err != nil {
		t.Error(err)
	}
}
