package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/mod/semver"
)

// gorelease returns the path of that program, of the version that this module's go.mod names.
func gorelease(ctx context.Context) (string, error) {
	command := exec.CommandContext(ctx, "go", "tool", "-n", "gorelease")
	var stderr bytes.Buffer // also tells what is downloaded
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("go tool -n gorelease: %w: %s", err, &stderr)
	}
	return strings.TrimSpace(string(out)), nil
}

// earlier returns the latest version of a module that is tagged, "" if none is. The clone has the release's own tag later.
func (r *release) earlier(ctx context.Context, m *module) (string, error) {
	tags, err := r.clone.git(ctx, "tag", "--list", "--sort=-version:refname", m.tag("v*"))
	if err != nil {
		return "", err
	}
	for tag := range strings.FieldsSeq(tags) {
		version := strings.TrimPrefix(tag, m.tag("")+"/")
		if semver.IsValid(version) && semver.Prerelease(version) == "" && semver.Compare(version, r.version) < 0 {
			return version, nil
		}
	}
	return "", nil
}

// addEarlier has in the proxy what the modules will be compared with.
func (r *release) addEarlier(ctx context.Context) error {
	for _, m := range r.modules {
		if m.programs() {
			continue
		}
		version, err := r.earlier(ctx, m)
		if err != nil {
			return err
		}
		if version == "" {
			fmt.Printf("%s: no version is tagged that gorelease could compare with\n", m.path())
			continue
		}
		fmt.Printf("%s: gorelease compares with %s\n", m.path(), version)
		if _, err := r.proxy.add(ctx, m.path(), version); err != nil {
			return err
		}
	}
	return nil
}

// compare has gorelease look at a module as it is about to be tagged, and compare it with the version before, if there is
// one. What has become incompatible must be named in the changelog, and takes more than the next patch. Programs have nothing to
// compare.
func (r *release) compare(ctx context.Context, m *module) error {
	if m.programs() {
		return nil
	}
	base, err := r.earlier(ctx, m)
	if err != nil {
		return err
	}
	if base == "" {
		base = "none"
	}
	folder := filepath.Join(r.clone.folder, m.folder)
	// gorelease wants to know which versions there are of all that the module requires. A registry that does not tell is not asked
	// for those that are downloaded.
	if _, err := r.command(ctx, folder, "go", "mod", "download"); err != nil {
		return err
	}
	said, err := r.command(ctx, folder, r.gorelease, "-base="+base, "-version="+r.version)
	if err != nil {
		return err
	}
	var faults []string
	for _, change := range incompatible(said) {
		switch {
		case semver.MajorMinor(base) == semver.MajorMinor(r.version):
			faults = append(faults, change.String()+": "+r.version+" is but a patch of "+base)
		case !strings.Contains(r.entry.text, change.name):
			faults = append(faults, change.String()+": what "+changelogFile+" says of "+r.version+" does not name "+change.name)
		}
	}
	if len(faults) > 0 {
		return fmt.Errorf("incompatible with %s@%s:\n%s", m.path(), base, strings.Join(faults, "\n"))
	}
	return nil
}

// A change is one that gorelease calls incompatible.
type change struct {
	path string // of the package
	name string // of what has changed: Client.Key; for the package itself its path
	said string
}

func (c change) String() string { return c.path + ": " + c.said }

// incompatible returns the incompatible changes of a report by gorelease: those in the parts headed so.
func incompatible(report string) []change {
	var changes []change
	var path string
	var within bool
	for line := range strings.Lines(report) {
		line = strings.TrimSpace(line)
		if heading, ok := strings.CutPrefix(line, "# "); ok {
			path, within = heading, false
			continue
		}
		if strings.HasPrefix(line, "## ") {
			within = line == "## incompatible changes"
			continue
		}
		if line == "" || !within {
			continue
		}
		name, _, ok := strings.Cut(line, ":")
		if !ok {
			name = path
		}
		changes = append(changes, change{path, strings.NewReplacer("(*", "", ")", "").Replace(name), line})
	}
	return changes
}
