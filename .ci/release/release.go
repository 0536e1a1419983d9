package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/semver"
)

// A release is a version on its way.
type release struct {
	version     string
	folder      string // temporary
	clone       repository
	modules     []*module
	proxy       *proxy
	environment []string // of go commands
	gorelease   string   // the program
	entry       entry    // of the changelog
}

// withRelease makes the version in a clone, tries it, and calls use before all of it is deleted.
func withRelease(ctx context.Context, origin repository, version string, use func(*release) error) error {
	folder, err := os.MkdirTemp("", "release")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	r := &release{version: version, folder: folder}
	steps := []func(context.Context) error{
		func(ctx context.Context) error { return r.prepare(ctx, origin) },
		r.addEarlier, r.tagAll, r.require, r.install,
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return use(r)
}

func (r *release) prepare(ctx context.Context, origin repository) (err error) {
	if r.gorelease, err = gorelease(ctx); err != nil {
		return err
	}
	if r.clone, err = origin.cloned(ctx, filepath.Join(r.folder, "clone")); err != nil {
		return err
	}
	if r.modules, err = r.clone.modules(ctx); err != nil {
		return err
	}
	if r.entry, err = r.clone.changelog(); err != nil {
		return err
	}
	if r.version == "" {
		r.version = r.entry.version
	}
	if !semver.IsValid(r.version) {
		return fmt.Errorf("%q is no version such as v0.1.0", r.version)
	}
	switch taken, err := r.clone.git(ctx, "tag", "--list", r.version); {
	case err != nil:
		return err
	case taken != "":
		next := following(r.version)
		fmt.Printf("%s exists: %s is rehearsed\n", r.version, next)
		r.version = next
	}
	r.proxy = &proxy{filepath.Join(r.folder, "proxy"), r.clone, r.modules[0].path()}
	if err := os.Mkdir(r.proxy.folder, 0o700); err != nil {
		return err
	}
	r.environment, err = r.proxy.environment(ctx, filepath.Join(r.folder, "modules"))
	return err
}

// following returns the next patch of a version: what is rehearsed as long as the changelog names no version that is to come.
func following(version string) string {
	minor := semver.MajorMinor(version)
	patch, _, _ := strings.Cut(strings.TrimPrefix(semver.Canonical(version), minor+"."), "-")
	n, _ := strconv.Atoi(patch)
	return fmt.Sprintf("%s.%d", minor, n+1)
}

// command runs a program in a folder, with the environment of go commands, and returns what it prints.
func (r *release) command(ctx context.Context, folder, program string, arguments ...string) (string, error) {
	command := exec.CommandContext(ctx, program, arguments...)
	command.Dir = folder
	command.Env = r.environment
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		return string(out), fmt.Errorf("%s %s: %w\n%s%s", filepath.Base(program), strings.Join(arguments, " "), err, out, &stderr)
	}
	return string(out), nil
}

// tagAll makes a commit of each nested module, tags all modules, and has them in the proxy.
func (r *release) tagAll(ctx context.Context) error {
	var paths []string
	for _, m := range r.modules {
		paths = append(paths, m.path())
	}
	for _, m := range r.modules {
		if err := m.detach(r.proxy.core, paths, r.version); err != nil {
			return err
		}
	}
	for _, m := range r.modules {
		if m.folder != "." {
			if err := r.commit(ctx, m); err != nil {
				return err
			}
		}
		if err := r.compare(ctx, m); err != nil {
			return err
		}
		if _, err := r.clone.git(ctx, "tag", "--annotate", "--message", m.path()+" "+r.version, m.tag(r.version)); err != nil {
			return err
		}
		d, err := r.proxy.add(ctx, m.path(), r.version)
		if err != nil {
			return err
		}
		if err := r.proxy.check(d, m.folder, r.version); err != nil {
			return err
		}
	}
	return nil
}

// commit writes the go.mod of a nested module, has its go.sum completed, and commits both.
func (r *release) commit(ctx context.Context, m *module) error {
	content, err := m.file.Format()
	if err != nil {
		return err
	}
	folder := filepath.Join(r.clone.folder, m.folder)
	if err := os.WriteFile(filepath.Join(folder, "go.mod"), content, 0o600); err != nil {
		return err
	}
	if _, err := r.command(ctx, folder, "go", "mod", "tidy"); err != nil {
		return fmt.Errorf("%s: %w", m.folder, err)
	}
	if _, err := r.clone.git(ctx, "add", "--all"); err != nil { // go.sum may be new
		return err
	}
	_, err = r.clone.git(ctx, "commit", "--quiet", "--message", m.folder+": requires "+r.version+" of the repository's modules")
	return err
}

// require builds and runs a program outside the repository that requires modules of the version.
func (r *release) require(ctx context.Context) error {
	folder := filepath.Join(r.folder, "consumer")
	source, err := os.ReadFile(filepath.Join(r.clone.folder, ".ci", "release", "testdata", "consumer", "main.go"))
	if err != nil {
		return err
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "main.go"), source, 0o600); err != nil {
		return err
	}
	core := r.proxy.core
	for _, arguments := range [][]string{
		{"mod", "init", "example.com/consumer"},
		{"get", core + "@" + r.version, core + "/storage/sql@" + r.version, core + "/solver/libdns@" + r.version},
		{"mod", "tidy"},
	} {
		if _, err := r.command(ctx, folder, "go", arguments...); err != nil {
			return err
		}
	}
	said, err := r.command(ctx, folder, "go", "run", ".")
	if err == nil {
		fmt.Printf("a program outside the repository: %s", said)
	}
	return err
}

// install installs the commands of the examples, and runs acmetool.
func (r *release) install(ctx context.Context) error {
	programs := filepath.Join(r.folder, "bin")
	r.environment = append(r.environment, "GOBIN="+programs)
	for _, m := range r.modules {
		if !m.programs() {
			continue
		}
		if _, err := r.command(ctx, r.folder, "go", "install", m.path()+"/...@"+r.version); err != nil {
			return err
		}
	}
	said, err := r.command(ctx, r.folder, filepath.Join(programs, "acmetool"), "-h")
	if err == nil {
		first, _, _ := strings.Cut(said, "\n")
		fmt.Printf("go install %s/examples/acmetool@%s: %s\n", r.proxy.core, r.version, first)
	}
	return err
}
