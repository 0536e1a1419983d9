package acme_test

import (
	"go/ast"
	"go/build"
	"go/doc"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// module is what import paths of our own begin with.
const module = "github.com/everseal/everseal/"

// packages are those of the core, with the rules each keeps.
var packages = []struct {
	dir     string
	exports int      // package-level functions and types at most; 0: not counted
	imports []string // of ours, by prefix, that it may import; nil: any that is not above it
}{
	{"acme", 50, []string{}},
	{"acme/acmetest", 0, []string{"acme"}},
	{"solver", 38, []string{"acme", "storage"}},
	{"storage", 22, []string{}},
	{"storage/storagetest", 0, []string{"storage"}},
	{"certmanager", 36, []string{"acme", "solver", "storage", "certmanager/internal"}},
}

// parsePackage returns the product code of a package for all platforms.
func parsePackage(t *testing.T, dir string) (*token.FileSet, []*ast.File) {
	t.Helper()
	root := filepath.Join("..", filepath.FromSlash(dir))
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, entry := range entries {
		name := entry.Name()
		if filepath.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(fset, filepath.Join(root, name), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	if len(files) == 0 {
		t.Fatalf("%s has no Go files", dir)
	}
	return fset, files
}

func TestExportsAreDocumentedAndFew(t *testing.T) {
	for _, p := range packages {
		t.Run(p.dir, func(t *testing.T) {
			fset, files := parsePackage(t, p.dir)
			// Of declarations that differ by platform one is enough.
			files = slices.DeleteFunc(files, func(f *ast.File) bool {
				name := fset.Position(f.Package).Filename
				match, err := build.Default.MatchFile(filepath.Dir(name), filepath.Base(name))
				return err != nil || !match
			})
			documented, err := doc.NewFromFiles(fset, files, module+p.dir)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(documented.Doc, "\n# ") {
				t.Error("the package's comment has no headings")
			}
			if n := len(documented.Funcs) + len(documented.Types); p.exports > 0 {
				for _, typ := range documented.Types {
					n += len(typ.Funcs)
				}
				if n > p.exports {
					t.Errorf("%d package-level functions and types are exported, more than %d", n, p.exports)
				}
			}
			for _, name := range undocumented(documented) {
				t.Errorf("%s has no comment", name)
			}
		})
	}
}

// undocumented returns the exported names without a comment, be it their own or their group's.
func undocumented(p *doc.Package) []string {
	var names []string
	values := func(groups []*doc.Value) {
		for _, group := range groups {
			for _, spec := range group.Decl.Specs {
				value := spec.(*ast.ValueSpec)
				if group.Doc != "" || value.Doc != nil || value.Comment != nil {
					continue
				}
				for _, name := range value.Names {
					names = append(names, name.Name)
				}
			}
		}
	}
	funcs := func(receiver string, funcs []*doc.Func) {
		for _, f := range funcs {
			if f.Doc == "" {
				names = append(names, receiver+f.Name)
			}
		}
	}
	values(p.Consts)
	values(p.Vars)
	funcs("", p.Funcs)
	for _, typ := range p.Types {
		if typ.Doc == "" {
			names = append(names, typ.Name)
		}
		values(typ.Consts)
		values(typ.Vars)
		funcs("", typ.Funcs)
		funcs(typ.Name+".", typ.Methods)
	}
	return names
}

func TestOnlyErrorsAreVariables(t *testing.T) {
	for _, p := range packages {
		fset, files := parsePackage(t, p.dir)
		for _, file := range files {
			for _, declaration := range file.Decls {
				general, ok := declaration.(*ast.GenDecl)
				if !ok || general.Tok != token.VAR {
					continue
				}
				for _, spec := range general.Specs {
					for _, name := range spec.(*ast.ValueSpec).Names {
						if name.Name != "_" && !strings.HasPrefix(strings.ToLower(name.Name), "err") {
							t.Errorf("%v: the package-level variable %s is no error", fset.Position(name.Pos()), name.Name)
						}
					}
				}
			}
		}
	}
}

func TestContextsComeFromTheCaller(t *testing.T) {
	for _, p := range packages {
		fset, files := parsePackage(t, p.dir)
		for _, file := range files {
			ast.Inspect(file, func(n ast.Node) bool {
				selector, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				of, ok := selector.X.(*ast.Ident)
				if ok && of.Name == "context" && (selector.Sel.Name == "Background" || selector.Sel.Name == "TODO") {
					t.Errorf("%v: context.%s", fset.Position(n.Pos()), selector.Sel.Name)
				}
				return true
			})
		}
	}
}

func TestImportsRunOneWay(t *testing.T) {
	foreign := []string{"github.com/go-jose/go-jose/v4", "golang.org/x/net/", "golang.org/x/sync/"}
	for _, p := range packages {
		fset, files := parsePackage(t, p.dir)
		for _, file := range files {
			for _, spec := range file.Imports {
				path, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					t.Fatal(err)
				}
				first, _, _ := strings.Cut(path, "/")
				inside, ours := strings.CutPrefix(path, module)
				allowed := func(prefix string) bool { return inside == prefix || strings.HasPrefix(inside, prefix+"/") }
				switch {
				case ours && !slices.ContainsFunc(p.imports, allowed):
					t.Errorf("%v: %s imports %s", fset.Position(spec.Pos()), p.dir, path)
				case !ours && strings.Contains(first, ".") && !slices.ContainsFunc(foreign, func(prefix string) bool { return strings.HasPrefix(path, prefix) }):
					t.Errorf("%v: %s is no dependency of the core", fset.Position(spec.Pos()), path)
				}
			}
		}
	}
}
