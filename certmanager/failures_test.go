package certmanager

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The page on failures has all causes of package diagnose, problem types of package acme, and what this package says itself, and
// no more.
func TestFailuresAreAllOnThePage(t *testing.T) {
	for _, test := range []struct {
		heading string
		code    []string
	}{
		{"What the diagnosis finds", slices.Collect(maps.Values(constantsOf(t, "../solver/diagnose", "Cause")))},
		{"What the CA says", slices.Collect(maps.Values(constantsOf(t, "../acme", "ProblemType")))},
		{"What the manager says of it", beginningsIn(t, "cause.go")},
		{"Why a certificate waits", exportedOnly(constantsOf(t, ".", "Reason"))},
	} {
		if len(test.code) < 10 {
			t.Errorf("%s: only %d were found in the code", test.heading, len(test.code))
		}
		rows := namedRows(t, "failures.md", test.heading)
		for _, name := range test.code {
			if cells := rows[name]; len(cells) != 2 || cells[0] == "" || cells[1] == "" {
				t.Errorf("failures.md, %s: `%s` has no row, or not what is wrong and what to do: %q", test.heading, name, cells)
			}
			delete(rows, name)
		}
		for name := range rows {
			t.Errorf("failures.md, %s: nothing says %q", test.heading, name)
		}
	}
}

// What of ours the cures in the code name, the page names too.
func TestCuresOnThePageAreThoseOfTheCode(t *testing.T) {
	causes := constantsOf(t, "../solver/diagnose", "Cause")
	rows := namedRows(t, "failures.md", "What the diagnosis finds")
	count := 0
	for cause, named := range namesInCures(t, "../solver/diagnose") {
		for name := range named {
			count++
			if cells := rows[causes[cause]]; !strings.Contains(strings.Join(cells, " "), name) {
				t.Errorf("failures.md: a cure of %s names %s, the page does not: %q", cause, name, cells)
			}
		}
	}
	if count < 5 {
		t.Errorf("only %d names were found in cures", count)
	}
}

// beginningsIn returns the words with which the functions of a file begin errors, up to the colon.
func beginningsIn(t *testing.T, path string) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]bool)
	ast.Inspect(file, func(n ast.Node) bool {
		result, ok := n.(*ast.ReturnStmt)
		if !ok {
			return true
		}
		for _, text := range textsIn(result, nil) {
			if begin, _, ok := strings.Cut(text, ": "); ok && strings.Contains(begin, " ") {
				found[begin] = true
			}
		}
		return true
	})
	return slices.Collect(maps.Keys(found))
}

// namesInCures returns the names of ours in the cures of a package's verdicts, by the name of the cause.
func namesInCures(t *testing.T, folder string) map[string]map[string]bool {
	t.Helper()
	files := parsedFiles(t, folder)
	constants := make(map[string]ast.Expr)
	for _, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.ValueSpec); ok && len(spec.Values) == len(spec.Names) {
				for i, name := range spec.Names {
					constants[name.Name] = spec.Values[i]
				}
			}
			return true
		})
	}
	found := make(map[string]map[string]bool)
	for _, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) < 2 {
				return true
			}
			called, isFunction := call.Fun.(*ast.Ident)
			cause, isName := call.Args[0].(*ast.Ident)
			if !isFunction || !isName || called.Name != "because" {
				return true
			}
			for _, text := range textsIn(call.Args[1], constants) {
				for _, name := range regexp.MustCompile(`\b[A-Za-z]\w*\.[A-Z]\w*`).FindAllString(text, -1) {
					if found[cause.Name] == nil {
						found[cause.Name] = make(map[string]bool)
					}
					found[cause.Name][name] = true
				}
			}
			return true
		})
	}
	return found
}
