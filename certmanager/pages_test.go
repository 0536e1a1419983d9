package certmanager

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// tableRows returns the cells of the rows of the tables below a heading of a page, without their heads.
func tableRows(t *testing.T, page, heading string) [][]string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("%s has no heading %q", page, heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	_, body, _ := strings.Cut(section, "| ---")
	var rows [][]string
	for _, match := range regexp.MustCompile(`(?m)^\| (.*) \|$`).FindAllStringSubmatch(body, -1) {
		var cells []string
		for cell := range strings.SplitSeq(match[1], "|") {
			cells = append(cells, strings.TrimSpace(cell))
		}
		rows = append(rows, cells)
	}
	return rows
}

// namedRows returns the same rows by their first cell, which is a name, and is left out.
func namedRows(t *testing.T, page, heading string) map[string][]string {
	t.Helper()
	rows := make(map[string][]string)
	for _, cells := range tableRows(t, page, heading) {
		name := strings.Trim(cells[0], "`")
		if rows[name] != nil {
			t.Errorf("%s, %s: there are two rows of %q", page, heading, name)
		}
		rows[name] = cells[1:]
	}
	return rows
}

// parsedFiles returns the product code of a folder.
func parsedFiles(t *testing.T, folder string) []*ast.File {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return files
}

// constantsOf returns the last strings in the values of the constants of a type, by their names.
func constantsOf(t *testing.T, folder, kind string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	for _, file := range parsedFiles(t, folder) {
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 {
				return true
			}
			if of, ok := spec.Type.(*ast.Ident); ok && of.Name == kind {
				texts := textsIn(spec.Values[0], nil)
				found[spec.Names[0].Name] = texts[len(texts)-1]
			}
			return true
		})
	}
	return found
}

func exportedOnly(constants map[string]string) (values []string) {
	for name, value := range constants {
		if ast.IsExported(name) {
			values = append(values, value)
		}
	}
	return values
}

// addressesIn returns the exported constants of a folder's code that are URLs, by their names.
func addressesIn(t *testing.T, folder string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	for _, file := range parsedFiles(t, folder) {
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			for i := 0; ok && i < len(spec.Values); i++ {
				for _, text := range textsIn(spec.Values[i], nil) {
					if strings.HasPrefix(text, "https://") && spec.Names[i].IsExported() {
						found[spec.Names[i].Name] = text
					}
				}
			}
			return true
		})
	}
	return found
}

// textsIn returns the strings in an expression, and in the constants that it names.
func textsIn(e ast.Node, constants map[string]ast.Expr) (texts []string) {
	ast.Inspect(e, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BasicLit:
			if n.Kind == token.STRING {
				text, err := strconv.Unquote(n.Value)
				if err == nil {
					texts = append(texts, text)
				}
			}
		case *ast.Ident:
			if value := constants[n.Name]; value != nil {
				texts = append(texts, textsIn(value, nil)...)
			}
		}
		return true
	})
	return texts
}
