package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A small is a repository with as many modules as it takes.
type small struct {
	*testing.T
	repository
}

const smallPath = "github.com/everseal/small"

func nested(name string, more ...string) string {
	return "module " + smallPath + "/" + name + "\n\ngo 1.26.0\n\n" + strings.Join(more, "\n") + "\n"
}

const (
	requireCore = "require " + smallPath + " v0.0.0"
	replaceCore = "replace " + smallPath + " => ../.."
)

var smallFiles = map[string]string{
	"go.mod":               "module " + smallPath + "\n\ngo 1.26.0\n",
	"LICENSE":              "Anybody may.\n",
	"README.md":            "This is small.\n",
	".github/CHANGELOG.md": "# Changelog\n\n## v0.1.0 - 2026-12-01\n\nThe first.\n",
	"small.go":             "// Package small is small.\npackage small\n\n// A Client has a key.\ntype Client struct{ Key string }\n",
	"storage/sql/go.mod":   nested("storage/sql", requireCore, replaceCore),
	"storage/sql/sql.go":   "// Package sql is small.\npackage sql\n\nimport \"" + smallPath + "\"\n\n// Open returns a client.\nfunc Open() small.Client { return small.Client{} }\n",
	"solver/libdns/go.mod": nested("solver/libdns", requireCore, replaceCore),
	"solver/libdns/dns.go": "// Package libdns is small.\npackage libdns\n\nimport \"" + smallPath + "\"\n\n// New takes a client.\nfunc New(small.Client) string { return \"libdns\" }\n",
	"examples/go.mod": nested("examples", "require (\n"+smallPath+" v0.0.0\n"+smallPath+"/solver/libdns v0.0.0\n)",
		"replace "+smallPath+" => ..", "replace "+smallPath+"/solver/libdns => ../solver/libdns"),
	"examples/acmetool/main.go": "// Acmetool is small.\npackage main\n\nimport (\n\t\"fmt\"\n\n\t\"" + smallPath + "\"\n\t\"" + smallPath + "/solver/libdns\"\n)\n\nfunc main() { fmt.Println(libdns.New(small.Client{})) }\n",
	// Nobody can require this one: it may replace what it likes.
	"internal/peers/go.mod":                 nested("internal/peers", requireCore, replaceCore, "replace example.com/fork => ./fork"),
	".ci/release/testdata/consumer/main.go": "package main\n\nimport (\n\t\"fmt\"\n\n\t\"" + smallPath + "/solver/libdns\"\n\t\"" + smallPath + "/storage/sql\"\n)\n\nfunc main() { fmt.Println(libdns.New(sql.Open())) }\n",
}

// newSmall makes a small repository. What it needs is on this machine: there is no proxy but the one under test.
func newSmall(t *testing.T) *small {
	t.Helper()
	if _, err := gorelease(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOPROXY", "off")
	s := &small{t, repository{folder: t.TempDir()}}
	s.git("init", "--quiet")
	s.git("config", "user.name", "A maintainer")
	s.git("config", "user.email", "maintainer@example.com")
	for name, content := range smallFiles {
		s.write(name, content)
	}
	s.commit()
	return s
}

func (s *small) git(arguments ...string) string {
	s.Helper()
	out, err := s.repository.git(s.Context(), arguments...)
	if err != nil {
		s.Fatal(err)
	}
	return out
}

func (s *small) write(name, content string) {
	s.Helper()
	path := filepath.Join(s.folder, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		s.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		s.Fatal(err)
	}
}

func (s *small) commit() {
	s.Helper()
	s.git("add", "--all")
	s.git("commit", "--quiet", "--message", "small")
}

// refused checks that a version, or the rehearsal of one, ends with an error that says something.
func (s *small) refused(version string, rehearse bool, want string) {
	s.Helper()
	before := s.git("tag", "--list")
	err := run(s.Context(), s.folder, version, rehearse)
	if err == nil || !strings.Contains(err.Error(), want) {
		s.Errorf("the error is %v, want one that says %q", err, want)
	}
	if after := s.git("tag", "--list"); after != before {
		s.Errorf("tags were made: %s", after)
	}
}

func (s *small) accepted(version string, rehearse bool) {
	s.Helper()
	if err := run(s.Context(), s.folder, version, rehearse); err != nil {
		s.Fatal(err)
	}
}
