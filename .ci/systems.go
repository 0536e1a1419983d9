//go:build ignore

// Systems type-checks packages, and all that they are built of, for the systems that their tests do not run on:
//
//	go run .ci/systems.go ./storage/sql/... ./storage/etcd/...
//
// A compiler would say the same, and takes minutes for each system.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

var systems = []string{"windows/amd64", "darwin/arm64", "freebsd/amd64", "linux/arm64"}

func main() {
	failed := make([]error, len(systems))
	var group sync.WaitGroup
	for i, system := range systems {
		group.Go(func() { failed[i] = check(system, os.Args[1:]) })
	}
	group.Wait()
	if err := errors.Join(failed...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// A listed is what go list says of a package.
type listed struct {
	ImportPath, Dir string
	GoFiles         []string
	ImportMap       map[string]string // where the path in the source is another one
	Standard        bool
	Module          *struct{ GoVersion string }
}

// check type-checks the packages for a system. Those of the standard library have been compiled for it by others: their functions are
// not looked into.
func check(system string, patterns []string) error {
	packages, err := list(system, patterns)
	if err != nil {
		return fmt.Errorf("%s: %w", system, err)
	}
	_, architecture, _ := strings.Cut(system, "/")
	checked := map[string]*types.Package{"unsafe": types.Unsafe}
	for _, p := range packages {
		if p.ImportPath == "unsafe" {
			continue
		}
		var failures []error
		config := types.Config{
			Importer:         imports{checked, p.ImportMap},
			Sizes:            types.SizesFor("gc", architecture),
			IgnoreFuncBodies: p.Standard,
			Error:            func(err error) { failures = append(failures, err) },
		}
		if p.Module != nil && p.Module.GoVersion != "" {
			config.GoVersion = "go" + p.Module.GoVersion
		}
		set := token.NewFileSet()
		files, err := p.parse(set)
		if err != nil {
			return fmt.Errorf("%s: %w", system, err)
		}
		checked[p.ImportPath], _ = config.Check(p.ImportPath, set, files, nil)
		if len(failures) > 0 {
			return fmt.Errorf("%s: %w", system, errors.Join(failures...))
		}
	}
	fmt.Printf("%s: %d packages\n", system, len(packages))
	return nil
}

// list returns the packages and all that they import, each behind what it imports.
func list(system string, patterns []string) ([]listed, error) {
	command := exec.Command("go", append([]string{"list", "-deps", "-json=ImportPath,Dir,GoFiles,ImportMap,Standard,Module"}, patterns...)...)
	name, architecture, _ := strings.Cut(system, "/")
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+name, "GOARCH="+architecture)
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	var all []listed
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		switch err := decoder.Decode(&p); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("go list: %w", err)
		}
		all = append(all, p)
	}
}

func (p listed) parse(set *token.FileSet) ([]*ast.File, error) {
	files := make([]*ast.File, 0, len(p.GoFiles))
	for _, name := range p.GoFiles {
		file, err := parser.ParseFile(set, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

// imports are the packages that one imports.
type imports struct {
	checked map[string]*types.Package
	mapped  map[string]string
}

func (i imports) Import(path string) (*types.Package, error) {
	if mapped, ok := i.mapped[path]; ok {
		path = mapped
	}
	if p := i.checked[path]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("%s is not there for this system", path)
}
