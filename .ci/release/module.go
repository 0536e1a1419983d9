package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/semver"
)

// unreleased is the version that modules require of each other in the repository. There is no such version.
const unreleased = "v0.0.0"

// A module is one of the repository's that others can require.
type module struct {
	folder string // from the repository's root, with slashes; "." for the core
	file   *modfile.File
}

func (m *module) path() string { return m.file.Module.Mod.Path }

func (m *module) tag(version string) string { return path.Join(m.folder, version) }

// programs reports whether the module has programs alone, and nothing to import.
func (m *module) programs() bool {
	return m.folder == "examples" || strings.HasPrefix(m.folder, "examples/")
}

// modules returns those that others can require, each behind those that it requires itself.
func (o repository) modules(ctx context.Context) ([]*module, error) {
	files, err := o.git(ctx, "ls-files", "--", "go.mod", "*/go.mod")
	if err != nil {
		return nil, err
	}
	var found []*module
	for file := range strings.FieldsSeq(files) {
		folder := path.Dir(file)
		if !published(folder) {
			continue
		}
		content, err := os.ReadFile(filepath.Join(o.folder, file))
		if err != nil {
			return nil, err
		}
		parsed, err := modfile.Parse(file, content, nil)
		if err != nil {
			return nil, err
		}
		found = append(found, &module{folder, parsed})
	}
	slices.SortFunc(found, func(a, b *module) int { return cmp.Compare(a.folder, b.folder) }) // "." comes before all names
	if len(found) == 0 || found[0].folder != "." {
		return nil, fmt.Errorf("there is no go.mod at the root of %s", o.folder)
	}
	return sorted(found)
}

// published reports whether others can require what is in the folder.
func published(folder string) bool {
	return !slices.ContainsFunc(strings.Split(folder, "/"), func(element string) bool {
		return element == "internal" || element != "." && strings.HasPrefix(element, ".")
	})
}

// sorted puts each module behind those that it requires.
func sorted(modules []*module) ([]*module, error) {
	var done []*module
	for len(done) < len(modules) {
		next := slices.IndexFunc(modules, func(m *module) bool {
			return !slices.Contains(done, m) && !slices.ContainsFunc(modules, func(other *module) bool {
				return !slices.Contains(done, other) && m.requires(other.path())
			})
		})
		if next < 0 {
			return nil, fmt.Errorf("modules require each other in a circle: none can be the first to be tagged")
		}
		done = append(done, modules[next])
	}
	return done, nil
}

func (m *module) requires(path string) bool {
	return slices.ContainsFunc(m.file.Require, func(r *modfile.Require) bool { return r.Mod.Path == path })
}

// detach makes the go.mod one that needs nothing of the repository: it requires the other modules, of which paths has those
// that are published, at the version, and replaces nothing.
func (m *module) detach(core string, paths []string, version string) error {
	name := m.file.Syntax.Name
	for _, required := range slices.Clone(m.file.Require) {
		of := required.Mod
		switch ours := of.Path == core || strings.HasPrefix(of.Path, core+"/"); {
		case !ours:
			continue
		case !slices.Contains(paths, of.Path):
			return fmt.Errorf("%s requires %s, which is not published", name, of.Path)
		case of.Version != unreleased:
			return fmt.Errorf("%s requires %s %s: in the repository it must be %s, and replaced by its folder", name, of.Path, of.Version, unreleased)
		case !m.replaces(of.Path, strings.TrimPrefix(strings.TrimPrefix(of.Path, core), "/")):
			return fmt.Errorf("%s does not replace %s by its folder", name, of.Path)
		}
		if err := m.file.AddRequire(of.Path, version); err != nil {
			return err
		}
	}
	for _, replaced := range slices.Clone(m.file.Replace) {
		if !slices.Contains(paths, replaced.Old.Path) {
			return fmt.Errorf("%s replaces %s: whoever requires the module does without that, and go install refuses it", name, replaced.Old.Path)
		}
		if err := m.file.DropReplace(replaced.Old.Path, replaced.Old.Version); err != nil {
			return err
		}
	}
	m.file.Cleanup()
	return m.releasable(core, version)
}

// replaces reports whether the module replaces the one with the path by its folder in the repository.
func (m *module) replaces(old, folder string) bool {
	return slices.ContainsFunc(m.file.Replace, func(r *modfile.Replace) bool {
		return r.Old.Path == old && r.New.Version == "" && path.Join(m.folder, filepath.ToSlash(r.New.Path)) == path.Clean(folder)
	})
}

// releasable returns what is wrong with the go.mod of a version, or nil.
func (m *module) releasable(core, version string) error {
	for _, required := range m.file.Require {
		if of := required.Mod; (of.Path == core || strings.HasPrefix(of.Path, core+"/")) && of.Version != version {
			return fmt.Errorf("%s requires %s %s instead of %s", m.path(), of.Path, of.Version, version)
		}
	}
	if len(m.file.Replace)+len(m.file.Exclude) > 0 {
		return fmt.Errorf("%s replaces or excludes something, which holds for nobody who requires it", m.path())
	}
	for _, retracted := range m.file.Retract {
		if semver.Compare(retracted.Low, version) <= 0 && semver.Compare(version, retracted.High) <= 0 {
			return fmt.Errorf("%s retracts %s (%s)", m.path(), version, retracted.Rationale)
		}
	}
	return nil
}
