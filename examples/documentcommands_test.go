package examples

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What the commands on the pages name is there: packages, flags of programs of ours and tests. So are variables of the environment, and metrics.
func TestDocumentsNameCommandsThatWork(t *testing.T) {
	c := readRepository(t)
	count := 0
	for _, d := range documents(t) {
		var commands []string
		for _, block := range d.blocks {
			if block.language == "sh" {
				commands = append(commands, strings.Split(strings.ReplaceAll(block.text, "\\\n", " "), "\n")...)
			}
		}
		for _, span := range d.spans() {
			if strings.HasPrefix(span, "go ") || strings.HasPrefix(span, "EVERSEAL_") {
				commands = append(commands, span)
			}
		}
		for _, command := range commands {
			count++
			c.checkCommand(t, d.name, command)
		}
		for _, name := range regexp.MustCompile(`\b(?:Test|Benchmark)[A-Z]\w*`).FindAllString(d.text, -1) {
			if !c.hasTest("^" + name) {
				t.Errorf("%s names %s, which is in no test file", d.name, name)
			}
		}
		for _, name := range regexp.MustCompile(`\bEVERSEAL_[A-Z_]+|\beverseal_[a-z_]+\w`).FindAllString(d.text, -1) {
			if !strings.Contains(c.code, name) {
				t.Errorf("%s names the variable or metric %s, which no code has", d.name, name)
			}
		}
	}
	if count < 30 {
		t.Errorf("only %d commands were found", count)
	}
}

// A repository is what commands can name.
type repository struct {
	tests map[string]bool
	code  string
}

func readRepository(t *testing.T) repository {
	t.Helper()
	r := repository{tests: make(map[string]bool)}
	var code strings.Builder
	err := filepath.WalkDir("..", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(name) != ".go" {
			return err
		}
		text := string(read(t, name))
		code.WriteString(text)
		for _, match := range regexp.MustCompile(`(?m)^func ((?:Test|Benchmark)\w+)\(`).FindAllStringSubmatch(text, -1) {
			r.tests[match[1]] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r.code = code.String()
	return r
}

// checkCommand checks one line.
func (r *repository) checkCommand(t *testing.T, page, command string) {
	t.Helper()
	command, _, _ = strings.Cut(command, " # ")
	words := strings.Fields(command)
	for len(words) > 0 && strings.Contains(words[0], "=") { // a variable of the environment
		words = words[1:]
	}
	if len(words) == 0 {
		return
	}
	if words[0] != "go" {
		if strings.HasPrefix(words[0], ".") && folder(page, words[0]) == "" {
			t.Errorf("%s: %q runs what is not there", page, command)
		}
		return
	}
	if len(words) < 2 || words[1] == "mod" || words[1] == "work" {
		return
	}
	program := ""
	for i, word := range words[2:] {
		previous := words[i+1]
		switch {
		case previous == "-run" || previous == "-bench":
			if !r.hasTest(word) {
				t.Errorf("%s: %q: no test is called %s", page, command, word)
			}
		case strings.HasPrefix(word, "./"), strings.HasPrefix(word, modulePath):
			at, _, _ := strings.Cut(word, "@")
			if last := strings.LastIndex(at, "/"); words[1] == "doc" { // the name of what is in the package may follow
				inside, _, _ := strings.Cut(at[last:], ".")
				at = at[:last] + inside
			}
			if program = folder(page, at); program == "" {
				t.Errorf("%s: %q: there is no package %s", page, command, word)
			}
		case strings.HasPrefix(word, "-") && words[1] == "run" && program != "":
			if name := strings.Trim(word, "-"); !strings.Contains(program, `"`+strings.Split(name, "=")[0]+`"`) {
				t.Errorf("%s: %q: the program has no flag %s", page, command, word)
			}
		}
	}
}

const modulePath = "github.com/everseal/everseal"

// folder returns the code in the folder that a page calls so, from the root or from where the page is, or the file; empty: there is none.
func folder(page, name string) string {
	name = strings.TrimPrefix(strings.TrimPrefix(name, modulePath), "/")
	name = strings.TrimSuffix(strings.TrimSuffix(name, "..."), "/")
	for _, base := range []string{"..", filepath.Join("..", filepath.Dir(page))} {
		at := filepath.Join(base, name)
		info, err := os.Stat(at)
		if err != nil {
			continue
		}
		if !info.IsDir() {
			return at
		}
		files, err := filepath.Glob(filepath.Join(at, "*.go"))
		if err != nil {
			continue
		}
		code := at
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err == nil {
				code += string(text)
			}
		}
		return code
	}
	return ""
}

// hasTest reports whether a test or benchmark is chosen by the pattern. "-" chooses none.
func (r *repository) hasTest(pattern string) bool {
	pattern = strings.Trim(pattern, `'"`)
	if pattern == "-" || pattern == "." {
		return true
	}
	chosen, err := regexp.Compile(pattern)
	if err != nil {
		return false
	}
	for name := range r.tests {
		if chosen.MatchString(name) {
			return true
		}
	}
	return false
}
