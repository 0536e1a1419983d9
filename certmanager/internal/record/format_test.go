package record_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/everseal/everseal/certmanager/internal/record"
)

// TestFormatIsWhole has each member of stored JSON be in a golden file, so that a release that writes it otherwise fails a test,
// and be told of in the package's documentation: by its name, or in a type that this refers to.
func TestFormatIsWhole(t *testing.T) {
	stored, documentation := storedText(t), readText(t, "doc.go")
	members := 0
	for of, names := range storedMembers(t) {
		referred := strings.Contains(documentation, "["+of+"]")
		for _, name := range names {
			members++
			if !strings.Contains(stored, strconv.Quote(name)+":") {
				t.Errorf("no golden file has the member %s of %s", name, of)
			}
			if !referred && !regexp.MustCompile(`\b`+name+`\b`).MatchString(documentation) {
				t.Errorf("the documentation does not know the member %s of %s", name, of)
			}
		}
	}
	if members < 50 {
		t.Errorf("only %d members were found", members)
	}
}

// TestKeysAreDocumented has the documentation know where each kind of record is.
func TestKeysAreDocumented(t *testing.T) {
	documentation := readText(t, "doc.go")
	certificate, account := record.CertificateKey("ca", "example.com", "ecdsa-p256"), record.AccountKey("ca", "")
	for _, key := range []string{certificate, record.WorkKey("ca", "example.com", "ecdsa-p256"), account, record.AccountKey("ca", "kid"), record.AccountLeaseKey(account),
		record.AuthorityKey("ca"), record.BudgetKey(account, "orders", ""), record.DeletionKey(certificate), record.RevocationKey("ca", "0abc"),
		record.CorruptKey(certificate, nil), record.TicketsKey} {
		prefix, _, _ := strings.Cut(key, "/")
		if !strings.Contains(documentation, "//\t"+prefix+"/") {
			t.Errorf("the documentation does not know the key %s", key)
		}
	}
}

func readText(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// storedText returns all golden files.
func storedText(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, folder := range []string{version1, current} {
		err := filepath.WalkDir(folder, func(path string, entry os.DirEntry, err error) error {
			if err == nil && !entry.IsDir() {
				all.WriteString(readText(t, path))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all.String()
}

// storedMembers returns the names of the members of JSON that the package's types have, by type.
func storedMembers(t *testing.T) map[string][]string {
	t.Helper()
	files, _ := filepath.Glob("*.go") // an error is one of the pattern
	members := make(map[string][]string)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if of, ok := spec.Type.(*ast.StructType); ok {
				members[spec.Name.Name] = append(members[spec.Name.Name], taggedMembers(of)...)
			}
			return true
		})
	}
	return members
}

// taggedMembers returns the names that the fields of a struct have in JSON.
func taggedMembers(of *ast.StructType) (names []string) {
	for _, field := range of.Fields.List {
		if field.Tag == nil {
			continue
		}
		tag, _ := strconv.Unquote(field.Tag.Value) // the compiler has seen it
		if name, _, _ := strings.Cut(reflect.StructTag(tag).Get("json"), ","); name != "" {
			names = append(names, name)
		}
	}
	return names
}
