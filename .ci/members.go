//go:build ignore

// Members checks that no type of package certmanager, or of the packages inside it, grows to do everything, and no file of theirs
// to hold everything: how many methods and fields the one may have, and how many lines the other. Run it in the module's folder:
//
//	go run .ci/members.go
package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// most is how many methods a type may have, and how many fields.
const most = 12

// mostLines is how many lines a file may have.
const mostLines = 300

// mostWiring is how many methods Manager may have that users do not call: it joins the parts, and what these do is theirs.
const mostWiring = 24

// exempt are those that users set or read field by field, and Manager, which has the operations that users call.
var exempt = []string{"ACME", "Config", "Event", "Manager", "Request", "Status"}

func main() {
	internal, _ := filepath.Glob("certmanager/internal/*") // an error is one of the pattern
	failed, types := false, 0
	for _, folder := range append(internal, "certmanager") {
		if folder == filepath.Join("certmanager", "internal", "peers") {
			continue // tests alone
		}
		counts, err := count(folder)
		if err != nil {
			fmt.Println(err)
			failed = true
		}
		types += len(counts)
		for name, n := range counts {
			if name == "Manager" && n.unexported > mostWiring {
				fmt.Printf("%s: type %s has %d methods that users do not call, at most %d may be\n", folder, name, n.unexported, mostWiring)
				failed = true
			}
			if (n.methods > most || n.fields > most) && !slices.Contains(exempt, name) {
				fmt.Printf("%s: type %s has %d methods and %d fields, at most %d may be\n", folder, name, n.methods, n.fields, most)
				failed = true
			}
		}
	}
	if types == 0 {
		fmt.Println("no types were found: run this in the module's folder")
	}
	if failed || types == 0 {
		os.Exit(1)
	}
	fmt.Printf("%d types have %d methods and fields at most\n", types, most)
}

type members struct{ methods, unexported, fields int }

// count returns the types that a folder declares, its tests left out. The error names a file that is too long.
func count(folder string) (map[string]members, error) {
	files, _ := filepath.Glob(filepath.Join(folder, "*.go")) // an error is one of the pattern
	counts := make(map[string]members)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, file, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		if lines := set.File(parsed.Pos()).LineCount(); lines > mostLines {
			return nil, fmt.Errorf("%s has %d lines, at most %d may be", file, lines, mostLines)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Recv != nil {
					name := receiver(n.Recv.List[0].Type)
					c := counts[name]
					c.methods++
					if !n.Name.IsExported() {
						c.unexported++
					}
					counts[name] = c
				}
			case *ast.TypeSpec:
				c := counts[n.Name.Name]
				switch t := n.Type.(type) {
				case *ast.StructType:
					c.fields = t.Fields.NumFields()
				case *ast.InterfaceType:
					c.methods = t.Methods.NumFields()
				}
				counts[n.Name.Name] = c
			}
			return true
		})
	}
	return counts, nil
}

// receiver returns the name of the type that a method is on.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}
