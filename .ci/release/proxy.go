package main

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
)

// A proxy is a folder that the go command takes for a module proxy. It is filled by the go command itself from the tags
// of a clone, as the public proxy is from those of the repository: with the same files, the same hashes, and the LICENSE
// of the root in the zip of each nested module.
type proxy struct {
	folder string // also holds the clone that the go command makes
	clone  repository
	core   string // the path of the core's module, and of the repository
}

// url is what GOPROXY calls it.
func (p *proxy) url() string {
	return "file://" + filepath.ToSlash(filepath.Join(p.folder, "cache", "download"))
}

// A download is what the go command says of a version.
type download struct{ Error, GoMod, Zip string }

// add has the version of a module, which is tagged in the clone, in the proxy from now on.
func (p *proxy) add(ctx context.Context, path, version string) (download, error) {
	command := exec.CommandContext(ctx, "go", "mod", "download", "-json", path+"@"+version)
	command.Dir = p.folder
	command.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-modcacherw", "GOMODCACHE="+p.folder, "GOPROXY=direct", "GOSUMDB=off",
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=url.file://"+filepath.ToSlash(p.clone.folder)+".insteadOf", "GIT_CONFIG_VALUE_0=https://"+p.core)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	var d download
	if json.Unmarshal(out, &d) == nil && d.Error != "" {
		return d, fmt.Errorf("%s@%s: %s", path, version, d.Error)
	}
	if err != nil {
		return d, fmt.Errorf("%s@%s: %w: %s", path, version, err, &stderr)
	}
	return d, nil
}

// check returns what is wrong with a version as the proxy serves it, or nil.
func (p *proxy) check(d download, folder, version string) error {
	content, err := os.ReadFile(d.GoMod)
	if err != nil {
		return err
	}
	file, err := modfile.Parse(folder+"/go.mod", content, nil)
	if err != nil {
		return err
	}
	m := &module{folder, file}
	if err := m.releasable(p.core, version); err != nil {
		return err
	}
	archive, err := zip.OpenReader(d.Zip)
	if err != nil {
		return err
	}
	defer archive.Close()
	licence := m.path() + "@" + version + "/LICENSE"
	if !slices.ContainsFunc(archive.File, func(f *zip.File) bool { return f.Name == licence && f.UncompressedSize64 > 0 }) {
		return fmt.Errorf("%s@%s has no LICENSE", m.path(), version)
	}
	fmt.Printf("%s %s: %d files\n", m.path(), version, len(archive.File))
	return nil
}

// environment is what go commands get the repository's modules from the proxy with, and all others, if they were had
// before, from the module cache. Nothing of it is left in that cache: the next rehearsal has other files under the same version.
// Their own cache is asked as well: it lists the versions that it has.
func (p *proxy) environment(ctx context.Context, cache string) ([]string, error) {
	settings := []string{"GOMODCACHE", "GOPROXY", "GOSUMDB", "GOTOOLCHAIN", "GOFLAGS"}
	out, err := exec.CommandContext(ctx, "go", append([]string{"env"}, settings...)...).Output()
	if err != nil {
		return nil, err
	}
	values := strings.Split(string(out), "\n")
	had := func(cache string) string {
		return "file://" + filepath.ToSlash(filepath.Join(cache, "cache", "download"))
	}
	return append(os.Environ(), "GOWORK=off",
		"GOENV=off", "GOPRIVATE=", "GONOPROXY=", // what is there set for modules in private would keep the go command from the proxy
		"GOMODCACHE="+cache, "GOPROXY="+p.url()+","+had(values[0])+","+had(cache)+","+values[1], "GOSUMDB="+values[2], "GONOSUMDB="+p.core, "GOTOOLCHAIN="+values[3],
		// -trimpath: what is built in one folder need not be built again in the next.
		"GOFLAGS="+strings.TrimSpace(values[4]+" -modcacherw -trimpath"),
	), nil
}
