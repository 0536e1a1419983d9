package examples

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// declared are variables of which the pages' code takes it that they are there, on all pages or on one.
var declared = map[string]string{
	"ctx": "context.Context", "m": "*certmanager.Manager", "mux": "*http.ServeMux", "provider": "solver.Provider", "config": "certmanager.Config",
	"store": "storage.Store", "sealed": "*storage.Sealed", "external": "*acme.ExternalAccount", "former": "storage.Store", "roots": "*x509.CertPool",
	"google": "*certmanager.ACME", "allowed": "func(context.Context, string) (bool, error)", "storage/kubernetes/README.md: store": "*kubernetes.Store",
}

// foreign are packages of others that code on the pages uses, beside those of the standard library and ours.
var foreign = []string{
	"context", "crypto/tls", "crypto/x509", "errors", "fmt", "log", "log/slog", "net", "net/http", "net/http/httputil", "net/netip", "net/url", "os", "slices", "strings", "testing", "time",
	"github.com/caddyserver/certmagic", "golang.org/x/crypto/acme/autocert", "github.com/libdns/cloudflare",
}

// All Go on the pages compiles, and what of ours they name is exported.
func TestDocumentsShowGoAsItIs(t *testing.T) {
	packages := loadPackages(t)
	t.Run("programs", packages.checkPrograms)
	t.Run("names", packages.checkNames)
}

func (p *packages) checkPrograms(t *testing.T) {
	count := 0
	for _, d := range documents(t) {
		for _, block := range d.blocks {
			if block.language != "go" {
				continue
			}
			count++
			if err := p.check(d.name, block); err != nil {
				t.Errorf("%v", err)
			}
		}
	}
	if count < 20 {
		t.Errorf("only %d programs were found", count)
	}
}

// checkNames looks for packages, types, fields and methods that a page names.
func (p *packages) checkNames(t *testing.T) {
	qualified := regexp.MustCompile(`^[&*]?([a-z]\w*)\.([A-Z]\w*)(?:\.([A-Z]\w*))?(?:[({].*)?$`)
	member := regexp.MustCompile(`^[&*]?([A-Z]\w*)\.([A-Z]\w*)(?:[({].*)?$`)
	count := 0
	for _, d := range documents(t) {
		for _, span := range d.spans() {
			if match := qualified.FindStringSubmatch(span); match != nil && p.ours[match[1]] != "" {
				count++
				if !p.has(p.ours[match[1]], match[2], match[3]) {
					t.Errorf("%s: there is no %s", d.name, span)
				}
			}
			if match := member.FindStringSubmatch(span); match != nil {
				count++
				if !slices.ContainsFunc(slices.Collect(maps.Values(p.ours)), func(of string) bool { return p.has(of, match[1], match[2]) }) {
					t.Errorf("%s: no package has %s", d.name, span)
				}
			}
		}
	}
	if count < 100 {
		t.Errorf("only %d names were found", count)
	}
}

// A packages are those that code on the pages may use.
type packages struct {
	set     *token.FileSet
	paths   map[string]string // by name
	ours    map[string]string // those of this repository
	imports types.Importer
}

// loadPackages compiles them, in the workspace.
func loadPackages(t *testing.T) *packages {
	t.Helper()
	p := &packages{set: token.NewFileSet(), paths: make(map[string]string), ours: make(map[string]string)}
	compiled := make(map[string]string)
	for _, found := range list(t, append([]string{"-deps", "-export", "work"}, foreign...)...) {
		compiled[found.ImportPath] = found.Export
		isOurs := strings.HasPrefix(found.ImportPath, modulePath) && !strings.Contains(found.ImportPath, "/internal/") && found.Name != "main"
		if isOurs {
			p.ours[found.Name] = found.ImportPath
		}
		if isOurs || slices.Contains(foreign, found.ImportPath) {
			p.paths[found.Name] = found.ImportPath
		}
	}
	p.imports = importer.ForCompiler(p.set, "gc", func(path string) (io.ReadCloser, error) { return os.Open(compiled[path]) })
	return p
}

// A listed is what go list says of a package.
type listed struct{ ImportPath, Name, Export string }

// list has go list tell of packages.
func list(t *testing.T, arguments ...string) []listed {
	t.Helper()
	workspace, err := filepath.Abs("../go.work")
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), "go", append([]string{"list", "-json=ImportPath,Name,Export"}, arguments...)...)
	command.Dir, command.Env = "..", append(os.Environ(), "GOWORK="+workspace)
	var told bytes.Buffer
	command.Stderr = &told
	out, err := command.Output()
	switch {
	case err == nil:
	case os.Getenv("CI") != "true" && regexp.MustCompile("dial tcp|no such host|GOPROXY=off|C compiler|build constraints exclude all Go files").Match(told.Bytes()):
		t.Skipf("the modules cannot be downloaded or built:\n%s", &told)
	default:
		t.Fatalf("%v:\n%s", err, &told)
	}
	var all []listed
	for decoder := json.NewDecoder(bytes.NewReader(out)); decoder.More(); {
		var one listed
		if err := decoder.Decode(&one); err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
	return all
}

// check returns why the code on a page does not compile.
func (p *packages) check(page string, block codeBlock) error {
	file, err := p.parse(page, block)
	if err != nil {
		return err
	}
	var errs []error
	config := types.Config{Importer: p.imports, Error: func(err error) {
		if e, ok := errors.AsType[types.Error](err); !ok || !e.Soft { // what a part of a program leaves unused is used in the rest
			errs = append(errs, err)
		}
	}}
	_, _ = config.Check("page", p.set, []*ast.File{file}, nil)
	return errors.Join(errs...)
}

// parse returns the code as a file: a part of one is given what it leaves out.
func (p *packages) parse(page string, block codeBlock) (*ast.File, error) {
	at := fmt.Sprintf("\n//line %s:%d\n", page, block.line)
	if file, err := parser.ParseFile(p.set, "", at+block.text, 0); err == nil {
		return file, nil
	}
	code := at + block.text
	file, err := parser.ParseFile(token.NewFileSet(), "", "package page\n"+code, 0)
	if err != nil {
		code = "func _() {" + at + block.text + "\n}\n"
		if file, err = parser.ParseFile(token.NewFileSet(), "", "package page\n"+code, 0); err != nil {
			return nil, err
		}
	}
	return parser.ParseFile(p.set, "", "package page\n"+p.missing(page, file)+code, 0)
}

// missing returns the imports and variables that a part of a program leaves out.
func (p *packages) missing(page string, file *ast.File) string {
	imports, variables := map[string]bool{}, map[string]string{}
	need := func(name string) {
		if imported := p.paths[name]; imported != "" {
			imports[imported] = true
		}
	}
	for _, identifier := range file.Unresolved {
		kind := cmp.Or(declared[page+": "+identifier.Name], declared[identifier.Name])
		if kind == "" {
			need(identifier.Name)
			continue
		}
		variables[identifier.Name] = kind
		for _, match := range regexp.MustCompile(`\w+\.`).FindAllString(kind, -1) {
			need(strings.TrimSuffix(match, "."))
		}
	}
	var code strings.Builder
	for _, imported := range slices.Sorted(maps.Keys(imports)) {
		fmt.Fprintf(&code, "import %q\n", imported)
	}
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		fmt.Fprintf(&code, "var %s %s\n", name, variables[name])
	}
	return code.String()
}

// has reports whether a package exports the name, and its type the member, if one is named.
func (p *packages) has(imported, name, member string) bool {
	of, err := p.imports.Import(imported)
	if err != nil {
		return false
	}
	object := of.Scope().Lookup(name)
	if object == nil || member == "" {
		return object != nil
	}
	found, _, _ := types.LookupFieldOrMethod(object.Type(), true, of, member)
	return found != nil
}
