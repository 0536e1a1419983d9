package certmanager

import (
	"bufio"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A loggedMessage is what the code logs: the beginning of the message that is always the same, with "…" for the rest, and its
// levels and keys.
type loggedMessage struct {
	levels, keys map[string]bool
}

// A loggedMessages are those of some source files.
type loggedMessages map[string]*loggedMessage

func (l loggedMessages) add(message string, levels, keys []string) {
	m := l[message]
	if m == nil {
		m = &loggedMessage{make(map[string]bool), make(map[string]bool)}
		l[message] = m
	}
	for _, level := range levels {
		m.levels[strings.ToUpper(strings.TrimPrefix(level, "Level"))] = true
	}
	for _, key := range keys {
		m.keys[key] = true
	}
}

// String shows levels and keys as the table has them.
func (l *loggedMessage) String() string {
	ordered := slices.DeleteFunc([]string{"DEBUG", "INFO", "WARN", "ERROR"}, func(level string) bool { return !l.levels[level] })
	return strings.Join(ordered, ", ") + " | " + strings.Join(slices.Sorted(maps.Keys(l.keys)), ", ")
}

// The table of messages has all that the packages log, with levels and keys, and nothing else.
func TestMessagesAreAllInTheTable(t *testing.T) {
	code := make(loggedMessages)
	for _, folder := range []string{".", "deploy", "../solver"} {
		readLogged(t, folder, code)
	}
	addEvents(code)
	if len(code) < 30 {
		t.Fatalf("only %d messages were found in the code", len(code))
	}
	table := readTable(t)
	for _, message := range slices.Sorted(maps.Keys(code)) {
		if row, ok := table[message]; !ok {
			t.Errorf("messages.md lacks: | `%s` | %s |", message, code[message])
		} else if row != code[message].String() {
			t.Errorf("messages.md says of %q: %s; the code says: %s", message, row, code[message])
		}
	}
	for message := range table {
		if code[message] == nil {
			t.Errorf("messages.md has %q, which nothing logs", message)
		}
	}
}

// The table of an event's keys has all of them.
func TestKeysOfEventsAreInTheTable(t *testing.T) {
	page, err := os.ReadFile("messages.md")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	e := Event{Names: []string{"example.com"}, Issuer: "ca", Renewal: true, Serial: "1", NotAfter: now, Next: now, Attempts: 1, Since: now, ExplanationURL: "https://ca.example", similar: 1}
	attrs := e.attrs()
	if len(attrs) != 10 {
		t.Errorf("the event has %d keys", len(attrs))
	}
	for _, attr := range attrs {
		if !strings.Contains(string(page), "| `certificate."+attr.Key+"` |") {
			t.Errorf("messages.md lacks the key certificate.%s", attr.Key)
		}
	}
	if n := strings.Count(string(page), "| `certificate."); n != len(attrs) {
		t.Errorf("messages.md has %d keys of events, which have %d", n, len(attrs))
	}
}

// addEvents adds what is logged of events, but for those of which the like was told lately.
func addEvents(code loggedMessages) {
	reason := errors.New("…")
	keys := []string{"certificate"}
	for _, e := range []Event{
		{Kind: EventLoaded}, {Kind: EventCopied, Err: reason}, {Kind: EventObtaining}, {Kind: EventObtained}, {Kind: EventFailed, Err: reason},
		{Kind: EventFailed, Err: reason, loud: true}, {Kind: EventDeleted}, {Kind: EventRevoked}, {Kind: EventRescheduled}, {Kind: EventExpiring, Err: reason},
		{Kind: EventExpiring, Err: reason, NotAfter: time.Now().Add(time.Hour)}, {Kind: EventUnavailable, Err: reason}, {Kind: EventAvailable},
		{Kind: EventCorrupt, Err: reason}, {Kind: EventWarning, Err: reason},
	} {
		code.add(e.message(), []string{e.level().String()}, keys)
	}
}

// readTable returns the rows of all tables in messages.md by message: levels and keys.
func readTable(t *testing.T) map[string]string {
	t.Helper()
	file, err := os.Open("messages.md")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rows := make(map[string]string)
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if !strings.HasPrefix(lines.Text(), "| `") || strings.HasPrefix(lines.Text(), "| `certificate.") {
			continue
		}
		cells := strings.Split(strings.Trim(lines.Text(), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		message := strings.Trim(cells[0], "`")
		if len(cells) != 5 || cells[3] == "" || cells[4] == "" {
			t.Fatalf("the row of %q has not message, level, keys, meaning and what to do", message)
		}
		if rows[message] != "" {
			t.Errorf("two rows are of %q", message)
		}
		rows[message] = cells[1] + " | " + strings.ReplaceAll(cells[2], "`", "")
	}
	return rows
}

// readLogged adds what the code of the folder logs.
func readLogged(t *testing.T, folder string, found loggedMessages) {
	t.Helper()
	files, err := filepath.Glob(folder + "/*.go")
	if err != nil {
		t.Fatal(err)
	}
	p := &loggingPackage{functions: make(map[string]*ast.FuncDecl), structs: make(map[string][]string), fields: make(map[string][]string)}
	var all []*ast.FuncDecl
	var parsed []*ast.File
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Body != nil {
				all = append(all, f)
				p.functions[f.Name.Name] = f
			}
		}
		p.readStructs(file)
		parsed = append(parsed, file)
	}
	for _, file := range parsed {
		p.readFields(file)
	}
	for _, f := range all {
		p.readFunction(t, f, found)
	}
}

// A loggingPackage is what is to be known of a package to follow what it logs.
type loggingPackage struct {
	functions map[string]*ast.FuncDecl
	structs   map[string][]string // names of fields, by type
	fields    map[string][]string // strings that fields are set to, by the field's name
}

// readStructs notes the fields of structs in their order.
func (p *loggingPackage) readStructs(file *ast.File) {
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if of, ok := spec.Type.(*ast.StructType); ok {
			var names []string
			for _, field := range of.Fields.List {
				for _, name := range field.Names {
					names = append(names, name.Name)
				}
				if len(field.Names) == 0 {
					names = append(names, "") // embedded
				}
			}
			p.structs[spec.Name.Name] = names
		}
		return true
	})
}

// readFields notes the strings that fields are set to in literals.
func (p *loggingPackage) readFields(file *ast.File) {
	ast.Inspect(file, func(n ast.Node) bool {
		literal, ok := n.(*ast.CompositeLit)
		for i := 0; ok && i < len(literal.Elts); i++ {
			value, name := literal.Elts[i], ""
			if pair, ok := value.(*ast.KeyValueExpr); ok {
				name, value = fmt.Sprint(pair.Key), pair.Value
			} else if fields := p.structs[fmt.Sprint(literal.Type)]; i < len(fields) {
				name = fields[i]
			}
			if isText(value) {
				p.fields[name] = append(p.fields[name], textOf(value))
			}
		}
		return true
	})
}

// readFunction adds what the function logs.
func (p *loggingPackage) readFunction(t *testing.T, f *ast.FuncDecl, found loggedMessages) {
	var calls []*ast.CallExpr
	ast.Inspect(f, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok && isLog(call) {
			calls = append(calls, call)
		}
		return true
	})
	for _, call := range calls {
		method := call.Fun.(*ast.SelectorExpr).Sel.Name
		args := call.Args
		if strings.HasSuffix(method, "Context") || method == "LogAttrs" {
			args = args[1:]
		}
		levels := []string{strings.TrimSuffix(method, "Context")}
		if method == "LogAttrs" {
			levels, args = p.levels(f, args[0]), args[1:]
		}
		keys := keysIn(args[1:])
		if call.Ellipsis.IsValid() {
			keys = append(keys, keysBeside(f, calls)...)
		}
		messages := p.messages(f, args[0])
		if isEvent(args[0]) {
			checkEvents(t, messages)
			continue
		}
		if len(messages) == 0 || len(levels) == 0 {
			t.Errorf("%s: it can't be seen what is logged", f.Name.Name)
		}
		for _, message := range messages {
			found.add(message, levels, keys)
		}
	}
}

// isEvent reports whether the message is that of an event.
func isEvent(message ast.Expr) bool {
	call, ok := message.(*ast.CallExpr)
	return ok && call.Fun.(*ast.SelectorExpr).Sel.Name == "message"
}

// checkEvents fails the test if the code logs events that addEvents lacks.
func checkEvents(t *testing.T, messages []string) {
	events := make(loggedMessages)
	addEvents(events)
	for _, message := range messages {
		if events[message] == nil {
			t.Errorf("addEvents lacks %q", message)
		}
	}
}

// isLog reports whether the call is one of a logger's.
func isLog(call *ast.CallExpr) bool {
	s, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	switch s.Sel.Name {
	case "LogAttrs", "DebugContext", "InfoContext", "WarnContext", "ErrorContext":
		return true
	case "Debug", "Info", "Warn", "Error":
		logger, ok := s.X.(*ast.SelectorExpr)
		return len(call.Args) > 0 && ok && strings.EqualFold(logger.Sel.Name, "logger")
	}
	return false
}

// levels returns those that the expression may be.
func (p *loggingPackage) levels(f *ast.FuncDecl, level ast.Expr) []string {
	switch level := level.(type) {
	case *ast.SelectorExpr:
		return []string{level.Sel.Name}
	case *ast.CallExpr: // of a method
		f = p.functions[level.Fun.(*ast.SelectorExpr).Sel.Name]
	}
	var levels []string
	ast.Inspect(f, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok && isLog(call) {
			return false
		}
		if s, ok := n.(*ast.SelectorExpr); ok && strings.HasPrefix(s.Sel.Name, "Level") {
			levels = append(levels, s.Sel.Name)
		}
		return true
	})
	return levels
}

// messages returns those that the expression may be.
func (p *loggingPackage) messages(f *ast.FuncDecl, message ast.Expr) []string {
	if sum, ok := message.(*ast.BinaryExpr); ok && !isText(message) {
		var texts []string
		for _, text := range p.messages(f, sum.X) {
			texts = append(texts, strings.TrimSuffix(text, "…")+"…")
		}
		return texts
	}
	var texts []string
	switch message := message.(type) {
	case *ast.SelectorExpr:
		return p.fields[message.Sel.Name]
	case *ast.CallExpr:
		ast.Inspect(p.functions[message.Fun.(*ast.SelectorExpr).Sel.Name], func(n ast.Node) bool {
			if r, ok := n.(*ast.ReturnStmt); ok {
				texts = append(texts, textOf(r.Results[0]))
			}
			return true
		})
	case *ast.Ident:
		ast.Inspect(f, func(n ast.Node) bool {
			a, ok := n.(*ast.AssignStmt)
			for i := 0; ok && i < len(a.Lhs) && len(a.Lhs) == len(a.Rhs); i++ {
				if name, ok := a.Lhs[i].(*ast.Ident); ok && name.Name == message.Name {
					texts = append(texts, textOf(a.Rhs[i]))
				}
			}
			return true
		})
	default:
		texts = append(texts, textOf(message))
	}
	return texts
}

// isText reports whether the expression is a string, or one joined with what varies.
func isText(e ast.Expr) bool {
	if sum, ok := e.(*ast.BinaryExpr); ok {
		return isText(sum.X)
	}
	lit, ok := e.(*ast.BasicLit)
	return ok && lit.Kind == token.STRING
}

// textOf returns a string, with "…" for what varies of it.
func textOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if text, err := strconv.Unquote(e.Value); err == nil {
			return text
		}
	case *ast.BinaryExpr:
		return strings.ReplaceAll(textOf(e.X)+textOf(e.Y), "……", "…")
	}
	return "…"
}

// keysIn returns the keys of the attributes.
func keysIn(args []ast.Expr) (keys []string) {
	for i, arg := range args {
		if isText(arg) && i%2 == 0 {
			keys = append(keys, textOf(arg)) // "key", value
		}
		if attr, ok := arg.(*ast.CompositeLit); ok {
			keys = append(keys, textOf(attr.Elts[0].(*ast.KeyValueExpr).Value))
		}
		if call, ok := arg.(*ast.CallExpr); ok {
			if s, ok := call.Fun.(*ast.SelectorExpr); ok && fmt.Sprint(s.X) == "slog" && len(call.Args) > 1 && isText(call.Args[0]) {
				keys = append(keys, textOf(call.Args[0]))
			}
		}
	}
	return keys
}

// keysBeside returns the keys of the attributes that the function makes beside those of its calls.
func keysBeside(f *ast.FuncDecl, calls []*ast.CallExpr) (keys []string) {
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if ok && slices.Contains(calls, call) {
			return false
		}
		if ok {
			keys = append(keys, keysIn([]ast.Expr{call})...)
		}
		return true
	})
	return keys
}
