//go:build ignore

// Rules checks what the compiler and the linters do not know about the core module: what it may
// depend on, which of its packages may import which, and how large things may grow. Run it in the
// module's folder:
//
//	go run .ci/rules.go
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const module = "github.com/everseal/everseal"

// dependencies are all modules that the core's go.mod may name.
var dependencies = []string{"github.com/go-jose/go-jose/v4", "golang.org/x/net", "golang.org/x/sync", "golang.org/x/text"}

// top is what the repository's folder has, besides names with a dot in front.
var top = []string{"LICENSE", "README.md", "acme", "certmanager", "examples", "go.mod", "go.sum", "go.work", "go.work.sum", "solver", "storage"}

// imports says what the code of a folder and those below it, its tests left out, may import of the module: folders too,
// with those below them that are not named here.
var imports = map[string][]string{
	"acme":        {},
	"storage":     {"storage"}, // storagetest
	"solver":      {"acme", "storage", "solver/internal"},
	"certmanager": {"acme", "storage", "solver", "solver/diagnose", "certmanager"},

	"solver/diagnose":             {"acme", "solver", "solver/internal"},
	"solver/internal":             {"acme", "solver/internal"},
	"solver/internal/solvertest":  {"acme"},    // for tests alone
	"storage/internal/server":     {"storage"}, // for tests alone
	"storage/internal/enginetest": {"storage", "storage/internal/server"},
	"acme/acmetest":               {"acme"},
}

const (
	fileLines      = 400
	testFileLines  = 700
	functionLines  = 60
	parameterCount = 4
)

// exports bounds the package-level functions and types that a package exports.
var exports = map[string]int{"acme": 50, "solver": 24, "solver/diagnose": 16, "storage": 33, "certmanager": 40, "certmanager/deploy": 2, "certmanager/migrate": 3, "certmanager/statuspage": 1}

// exampled are the packages in which go doc shows an Example of each type that a function of theirs makes, and of Config: one of
// the type, of a method of its, or of that function.
var exampled = []string{"certmanager", "storage"}

func main() {
	var c checker
	c.checkDependencies()
	c.checkTop()
	c.checkFiles()
	c.checkExamples()
	for folder, count := range c.exported {
		if most, ok := exports[folder]; ok && count > most {
			c.report("%s: %d functions and types are exported, at most %d may be", folder, count, most)
		}
	}
	if c.files == 0 {
		c.report("no Go files were found: run this in the module's folder")
	}
	if c.failed {
		os.Exit(1)
	}
	fmt.Printf("%d files keep the rules\n", c.files)
}

type checker struct {
	set      token.FileSet
	files    int
	exported map[string]int      // by folder
	makers   map[string][]string // functions by what they make, such as "storage.Lease"
	examples map[string]bool     // such as "storage.ExampleLease"
	failed   bool
}

func (c *checker) report(format string, args ...any) {
	fmt.Printf(format+"\n", args...)
	c.failed = true
}

// at reports something at a place in the code.
func (c *checker) at(node ast.Node, format string, args ...any) {
	c.report("%v: "+format, append([]any{c.set.Position(node.Pos())}, args...)...)
}

// checkDependencies looks at the core's go.mod.
func (c *checker) checkDependencies() {
	out, err := exec.Command("go", "mod", "edit", "-json").Output()
	var mod struct {
		Module  struct{ Path string }
		Require []struct {
			Path     string
			Indirect bool
		}
		Replace, Exclude []json.RawMessage
	}
	if err == nil {
		err = json.Unmarshal(out, &mod)
	}
	if err != nil || mod.Module.Path != module {
		c.report("go.mod is not that of %s: %v", module, err)
	}
	for _, required := range mod.Require {
		if !slices.Contains(dependencies, required.Path) || required.Indirect != (required.Path == "golang.org/x/text") {
			c.report("go.mod: the core does without %s (indirect: %v)", required.Path, required.Indirect)
		}
	}
	if len(mod.Replace)+len(mod.Exclude) > 0 {
		c.report("go.mod: it replaces or excludes something, which does not hold for those who import it")
	}
}

// checkTop looks at the repository's folder.
func (c *checker) checkTop() {
	entries, err := os.ReadDir(".")
	if err != nil {
		c.report("%v", err)
	}
	for _, entry := range entries {
		if name := entry.Name(); !strings.HasPrefix(name, ".") && !slices.Contains(top, name) {
			c.report("%s: nothing else belongs into this folder", name)
		}
	}
}

// checkFiles looks at all Go files of the core, and at those of nested modules for their size.
func (c *checker) checkFiles() {
	c.exported, c.examples = make(map[string]int), make(map[string]bool)
	c.makers = map[string][]string{"certmanager.Config": {}}
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != "." && strings.HasPrefix(entry.Name(), "."):
			return filepath.SkipDir
		case entry.IsDir() || filepath.Ext(path) != ".go":
			return nil
		}
		return c.checkFile(filepath.ToSlash(path))
	})
	if err != nil {
		c.report("%v", err)
	}
}

func (c *checker) checkFile(path string) error {
	source, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	c.files++
	test := strings.HasSuffix(path, "_test.go")
	most := fileLines
	if test {
		most = testFileLines
	}
	if lines := bytes.Count(source, []byte("\n")); lines > most {
		c.report("%s: %d lines, at most %d may be", path, lines, most)
	}
	file, err := parser.ParseFile(&c.set, path, source, parser.ParseComments)
	if err != nil {
		return err
	}
	for _, declaration := range file.Decls {
		if f, ok := declaration.(*ast.FuncDecl); ok && f.Recv == nil {
			c.noteExample(filepath.ToSlash(filepath.Dir(path)), f)
		}
		if !test {
			c.checkSize(declaration)
		}
	}
	if test {
		return nil
	}
	if !nested(path) {
		c.checkCore(path, file)
	}
	return nil
}

// noteExample notes a function that is an Example, or makes something that is to have one.
func (c *checker) noteExample(folder string, f *ast.FuncDecl) {
	if strings.HasPrefix(f.Name.Name, "Example") {
		c.examples[folder+"."+f.Name.Name] = true
		return
	}
	if !f.Name.IsExported() || !slices.Contains(exampled, folder) || f.Type.Results == nil {
		return
	}
	made := f.Type.Results.List[0].Type
	if pointer, ok := made.(*ast.StarExpr); ok {
		made = pointer.X
	}
	if t, ok := made.(*ast.Ident); ok && t.IsExported() {
		c.makers[folder+"."+t.Name] = append(c.makers[folder+"."+t.Name], f.Name.Name)
	}
}

// checkExamples looks for the Examples that there are to be.
func (c *checker) checkExamples() {
	for made, makers := range c.makers {
		folder, name, _ := strings.Cut(made, ".")
		found := false
		for example := range c.examples {
			of, ok := strings.CutPrefix(example, folder+".Example")
			of, _, _ = strings.Cut(of, "_")
			found = found || ok && (of == name || slices.Contains(makers, of))
		}
		if !found {
			c.report("%s: there is no Example of it, of a method of its or of what makes it (%v)", made, makers)
		}
	}
}

// nested reports whether the file belongs to a nested module.
func nested(path string) bool {
	for folder := filepath.Dir(path); folder != "."; folder = filepath.Dir(folder) {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return true
		}
	}
	return false
}

func (c *checker) checkSize(declaration ast.Decl) {
	f, ok := declaration.(*ast.FuncDecl)
	if !ok {
		return
	}
	if lines := c.set.Position(f.End()).Line - c.set.Position(f.Pos()).Line + 1; lines > functionLines {
		c.at(f, "%s has %d lines, at most %d may be", f.Name.Name, lines, functionLines)
	}
	n := f.Type.Params.NumFields()
	if isTesting(f.Type.Params) {
		n-- // a test's helper
	}
	if n > parameterCount {
		c.at(f, "%s has %d parameters, at most %d may be", f.Name.Name, n, parameterCount)
	}
}

// isTesting reports whether the first parameter is a *testing.T or the like.
func isTesting(parameters *ast.FieldList) bool {
	if parameters.NumFields() == 0 {
		return false
	}
	t := parameters.List[0].Type
	if pointer, ok := t.(*ast.StarExpr); ok {
		t = pointer.X
	}
	s, ok := t.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	x, ok := s.X.(*ast.Ident)
	return ok && x.Name == "testing"
}

// exempt are files with what product code has not: the one init function, which readies package net and has no caller whose context
// it could use; and, for tests alone, a variable: which ports were given is known to a process, and to no value that all tests hold.
var exempt = []string{"acme/acmetest/bubble.go", "storage/internal/server/port.go"}

// checkCore checks what holds for product code of the core.
func (c *checker) checkCore(path string, file *ast.File) {
	c.checkImports(path, file)
	if slices.Contains(exempt, path) {
		return
	}
	for _, declaration := range file.Decls {
		switch d := declaration.(type) {
		case *ast.FuncDecl:
			c.checkFunction(path, d)
		case *ast.GenDecl:
			c.checkDeclaration(path, d)
		}
	}
	ast.Inspect(file, func(node ast.Node) bool {
		if s, ok := node.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && x.Name == "context" && (s.Sel.Name == "Background" || s.Sel.Name == "TODO") {
				c.at(s, "context.%s: the caller's context is the one to use", s.Sel.Name)
			}
		}
		return true
	})
}

func (c *checker) checkImports(path string, file *ast.File) {
	allowed := imports[named(filepath.Dir(path))]
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue // the parser has reported it
		}
		below, ours := strings.CutPrefix(imported, module+"/")
		if ours && !slices.Contains(allowed, named(below)) {
			c.at(spec, "%s must not import %s", filepath.Dir(path), imported)
		}
	}
}

// named returns the nearest folder around one, or itself, that imports names.
func named(folder string) string {
	for folder != "." && imports[folder] == nil {
		folder = filepath.Dir(folder)
	}
	return folder
}

func (c *checker) checkFunction(path string, f *ast.FuncDecl) {
	if f.Name.Name == "init" {
		c.at(f, "an init function: packages have no state of their own")
	}
	if !f.Name.IsExported() || f.Recv != nil && !exportedReceiver(f.Recv) {
		return
	}
	if f.Recv == nil {
		c.exported[filepath.Dir(path)]++
	}
	c.checkComment(f.Name, f.Doc)
}

// exportedReceiver reports whether the type that a method is on is exported.
func exportedReceiver(receiver *ast.FieldList) bool {
	t := receiver.List[0].Type
	for {
		switch of := t.(type) {
		case *ast.StarExpr:
			t = of.X
		case *ast.IndexExpr: // of a type parameter
			t = of.X
		case *ast.Ident:
			return of.IsExported()
		default:
			return false
		}
	}
}

// checkDeclaration checks types, constants and variables. The comment of a group serves all its
// constants and variables.
func (c *checker) checkDeclaration(path string, d *ast.GenDecl) {
	for _, spec := range d.Specs {
		switch s := spec.(type) {
		case *ast.TypeSpec:
			if s.Name.IsExported() {
				c.exported[filepath.Dir(path)]++
				c.checkComment(s.Name, s.Doc, d.Doc)
			}
		case *ast.ValueSpec:
			for i, name := range s.Names {
				if name.IsExported() {
					c.checkComment(name, s.Doc, s.Comment, d.Doc)
				}
				if d.Tok == token.VAR && name.Name != "_" && (i >= len(s.Values) || !isError(s.Values[i])) && !isEmbedded(s.Doc, d.Doc) {
					c.at(name, "the variable %s: a package has none but errors and embedded files", name.Name)
				}
			}
		}
	}
}

// isEmbedded reports whether a variable's comment is what has the compiler fill it with a file.
func isEmbedded(comments ...*ast.CommentGroup) bool {
	return slices.ContainsFunc(comments, func(g *ast.CommentGroup) bool {
		return g != nil && slices.ContainsFunc(g.List, func(line *ast.Comment) bool { return strings.HasPrefix(line.Text, "//go:embed ") })
	})
}

// isError reports whether the value is a call of errors.New or fmt.Errorf.
func isError(value ast.Expr) bool {
	call, ok := value.(*ast.CallExpr)
	if !ok {
		return false
	}
	s, ok := call.Fun.(*ast.SelectorExpr)
	return ok && (s.Sel.Name == "New" || s.Sel.Name == "Errorf")
}

func (c *checker) checkComment(name *ast.Ident, comments ...*ast.CommentGroup) {
	if !slices.ContainsFunc(comments, func(g *ast.CommentGroup) bool { return strings.TrimSpace(g.Text()) != "" }) {
		c.at(name, "%s is exported and has no comment", name.Name)
	}
}
