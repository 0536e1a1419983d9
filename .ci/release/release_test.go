package main

import (
	"slices"
	"strings"
	"testing"
)

// A version is tagged as it was rehearsed, and nothing else in the repository changes. The next one is compared with it.
func TestRelease(t *testing.T) {
	s := newSmall(t)
	head := s.git("rev-parse", "HEAD")
	s.accepted("", true)
	if tags := s.git("tag", "--list"); tags != "" {
		t.Fatalf("a rehearsal made tags: %s", tags)
	}
	s.accepted("v0.1.0", false)
	tags := strings.Fields(s.git("tag", "--list"))
	if want := []string{"examples/v0.1.0", "solver/libdns/v0.1.0", "storage/sql/v0.1.0", "v0.1.0"}; !slices.Equal(tags, want) {
		t.Errorf("the tags are %q, want %q", tags, want)
	}
	if now := s.git("rev-parse", "HEAD") + s.git("status", "--porcelain"); now != head || s.git("rev-parse", "v0.1.0^{commit}") != head {
		t.Errorf("the repository has changed, or the core's tag is not at its HEAD: %s", now)
	}
	file := s.git("show", "examples/v0.1.0:examples/go.mod")
	if strings.Contains(file, "replace") || !strings.Contains(file, smallPath+" v0.1.0") || !strings.Contains(file, smallPath+"/solver/libdns v0.1.0") {
		t.Errorf("the tagged go.mod is\n%s", file)
	}
	if sums := s.git("show", "examples/v0.1.0:examples/go.sum"); strings.Count(sums, " v0.1.0 h1:") != 2 || strings.Count(sums, " v0.1.0/go.mod h1:") != 2 {
		t.Errorf("the tagged go.sum is\n%s", sums)
	}
	s.refused("v0.1.0", false, "v0.1.0 exists")

	s.write("small.go", "// Package small is small.\npackage small\n\n// A Client has a name.\ntype Client struct{ Name string }\n")
	s.commit()
	s.refused("", true, smallPath+": Client.Key: removed: v0.1.1 is but a patch of v0.1.0")
	s.write(changelogFile, "# Changelog\n\n## v0.2.0 - unreleased\n\nA key is gone.\n\n## v0.1.0 - 2026-12-01\n\nClient.Key is new.\n")
	s.commit()
	s.refused("", true, "does not name Client.Key")
	s.write(changelogFile, "# Changelog\n\n## v0.2.0 - unreleased\n\nClient.Key is gone.\n\n## v0.1.0 - 2026-12-01\n\nThe first.\n")
	s.commit()
	s.accepted("", true)
}

// What would make versions that nobody can use is found before there is a tag.
func TestUnusable(t *testing.T) {
	for name, test := range map[string]struct{ file, content, want string }{
		"another version required": {"storage/sql/go.mod", nested("storage/sql", "require "+smallPath+" v0.0.9", replaceCore), "storage/sql/go.mod requires " + smallPath + " v0.0.9"},
		"not replaced":             {"storage/sql/go.mod", nested("storage/sql", requireCore), "does not replace " + smallPath},
		"another folder":           {"storage/sql/go.mod", nested("storage/sql", requireCore, "replace "+smallPath+" => ../../.."), "does not replace " + smallPath},
		"a replacement forgotten":  {"storage/sql/go.mod", nested("storage/sql", requireCore, replaceCore, "replace example.com/fork => ../fork"), "replaces example.com/fork"},
		"an exclusion":             {"go.mod", smallFiles["go.mod"] + "\nexclude example.com/bad v1.0.0\n", "excludes something"},
		"an internal module":       {"storage/sql/go.mod", nested("storage/sql", requireCore, replaceCore, "require "+smallPath+"/internal/peers v0.0.0", "replace "+smallPath+"/internal/peers => ../../internal/peers"), "which is not published"},
		"a circle":                 {"go.mod", smallFiles["go.mod"] + "\nrequire " + smallPath + "/storage/sql v0.0.0\n", "in a circle"},
		"retracted":                {"storage/sql/go.mod", nested("storage/sql", requireCore, replaceCore, "retract v0.1.0 // a trial"), "retracts v0.1.0"},
		"no licence":               {"LICENSE", "", "has no LICENSE"},
		"a name not for zips":      {"testdata/nul", "x", `"nul" disallowed`},
		"does not compile":         {"solver/libdns/dns.go", "package libdns\n\nfunc New() {}\n", "too many arguments in call to libdns.New"},
		"no longer there":          {"examples/acmetool/main.go", "package acmetool\n", "acmetool"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSmall(t)
			s.write(test.file, test.content)
			s.commit()
			s.refused("", true, test.want)
		})
	}
}

// A version is made only of what is committed, and when the documents say what it is.
func TestNotReady(t *testing.T) {
	s := newSmall(t)
	s.refused("0.1.0", false, "is no version")
	s.refused("v0.1", false, "is no version")
	s.refused("v0.2.0", false, "begins with v0.1.0")
	s.write(changelogFile, "## v0.1.0 - unreleased\n")
	s.refused("v0.1.0", false, "not committed")
	s.commit()
	s.refused("v0.1.0", false, "must have its date")
	s.write(changelogFile, "Nothing\n")
	s.commit()
	s.refused("v0.1.0", false, "has no heading")
	s.write(changelogFile, smallFiles[changelogFile])
	s.write("storage/sql/doc.go", "// As long as it is not published, wait.\npackage sql\n")
	s.commit()
	s.refused("v0.1.0", false, "storage/sql/doc.go")
	s.write("storage/sql/doc.go", "package sql\n")
	s.write("README.md", "| in use since | not released |\n")
	s.commit()
	s.refused("v0.1.0", false, "README.md")
}
