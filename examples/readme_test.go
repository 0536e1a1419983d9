// Package examples checks that what the README shows is what the repository holds.
package examples

import (
	"bytes"
	"errors"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// The README's program is the Example of package certmanager, which compiles.
func TestReadmeProgramIsTheExample(t *testing.T) {
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllSubmatch(read(t, "../README.md"), -1)
	if len(blocks) != 1 {
		t.Fatalf("the README has %d programs", len(blocks))
	}
	shown := parse(t, "README.md", blocks[0][1])
	example := parse(t, "example_test.go", read(t, "../certmanager/example_test.go"))
	if got, want := shown.body(t, "main"), example.body(t, "Example"); got != want {
		t.Errorf("the README shows\n%s\nand the Example is\n%s", got, want)
	}
	for _, imported := range shown.imports() {
		if !slices.Contains(example.imports(), imported) {
			t.Errorf("the README's program imports %s, the Example does not", imported)
		}
	}
	formatted, err := format.Source(blocks[0][1])
	if err != nil || !bytes.Equal(formatted, blocks[0][1]) {
		t.Errorf("gofmt would change the README's program (%v)", err)
	}
}

func TestReadmeNamesWhatThereIs(t *testing.T) {
	text := string(read(t, "../README.md"))
	for _, command := range []string{"go run ./examples/quickstart", "go test work"} {
		if !strings.Contains(text, "```sh\n"+command+"\n```") {
			t.Errorf("the command %q is not shown on its own", command)
		}
	}
	named := regexp.MustCompile("\n\\| `([a-z/]+)`").FindAllStringSubmatch(text, -1)
	if len(named) < 5 {
		t.Errorf("only %d packages were found", len(named))
	}
	for _, match := range named {
		path := match[1]
		if _, err := os.Stat(filepath.Join("..", path)); err != nil {
			t.Errorf("the README names %s: %v", path, err)
		}
	}
}

// The lines by which DNS providers are used are those of Examples, which compile.
func TestDNSProvidersOnThePageAreTheExamples(t *testing.T) {
	var examples []string
	for _, name := range []string{"../solver/libdns/example_test.go", "../certmanager/internal/peers/example_lego_test.go"} {
		for line := range strings.Lines(string(read(t, name))) {
			examples = append(examples, strings.TrimSpace(line))
		}
	}
	blocks := regexp.MustCompile("(?s)\n```\n([^`]*cloudflare[^`]*)```\n").FindAllSubmatch(read(t, "../solver/challenges.md"), -1)
	if len(blocks) != 2 {
		t.Errorf("the page on challenges shows %d ways to use Cloudflare", len(blocks))
	}
	for _, block := range blocks {
		for line := range strings.Lines(string(block[1])) {
			if line = strings.TrimSpace(line); !slices.Contains(examples, line) {
				t.Errorf("no Example has the line %q", line)
			}
		}
	}
}

// The commands by which a program uses a checkout beside it do as the README says.
func TestReadmeCommandsWork(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the commands are for a shell")
	}
	text := read(t, "../README.md")
	commands := regexp.MustCompile("(?s)```sh\n(go mod edit .*?)```").FindSubmatch(text)
	switch {
	case commands != nil:
	case bytes.Contains(text, []byte("\ngo get "+modulePath+"\n")):
		return // .ci/release has required the modules so, and not before they are published can anybody else
	default:
		t.Fatal("the README shows neither go mod edit nor go get")
	}
	folder := t.TempDir()
	program := filepath.Join(folder, "server")
	checkout, err := filepath.Abs("..")
	if err == nil {
		err = errors.Join(os.Mkdir(program, 0o700), os.Symlink(checkout, filepath.Join(folder, "everseal")))
	}
	if err != nil {
		t.Fatal(err)
	}
	example := strings.Replace(string(read(t, "../solver/libdns/example_test.go")), "package libdns_test", "package main", 1)
	example = strings.Replace(example, "func ExampleNew()", "func main()", 1)
	if err := os.WriteFile(filepath.Join(program, "main.go"), []byte(example), 0o600); err != nil {
		t.Fatal(err)
	}
	shell := exec.CommandContext(t.Context(), "sh", "-ec", "go mod init example.com/server\n"+string(commands[1])+"go vet .")
	shell.Dir, shell.Env = program, append(os.Environ(), "GOWORK=off")
	out, err := shell.CombinedOutput()
	switch {
	case err == nil:
	case os.Getenv("CI") != "true" && regexp.MustCompile("dial tcp|no such host|GOPROXY=off").Match(out):
		t.Skipf("the modules cannot be downloaded:\n%s", out)
	default:
		t.Errorf("%v:\n%s", err, out)
	}
}

// A source is a parsed Go file.
type source struct {
	text []byte
	set  *token.FileSet
	file *ast.File
}

func parse(t *testing.T, name string, text []byte) source {
	t.Helper()
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, text, 0)
	if err != nil {
		t.Fatal(err)
	}
	return source{text, set, file}
}

// body returns the text between the braces of the function.
func (s source) body(t *testing.T, name string) string {
	t.Helper()
	for _, declaration := range s.file.Decls {
		if f, ok := declaration.(*ast.FuncDecl); ok && f.Name.Name == name {
			return string(s.text[s.set.Position(f.Body.Lbrace).Offset:s.set.Position(f.Body.End()).Offset])
		}
	}
	t.Fatalf("there is no function %s", name)
	return ""
}

func (s source) imports() []string {
	var paths []string
	for _, spec := range s.file.Imports {
		paths = append(paths, spec.Path.Value)
	}
	return paths
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
