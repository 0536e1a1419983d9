package migrate

import (
	"encoding/base64"
	"strings"
)

// parseAssignments returns what the lines of a shell's script set variables to, as far as no shell is needed to tell: NAME=value,
// 'value' or "value", without anything that would be expanded. A value that acme.sh has encoded is decoded.
func parseAssignments(script []byte) map[string]string {
	variables := make(map[string]string)
	for line := range strings.Lines(string(script)) {
		line = strings.TrimPrefix(strings.TrimSpace(line), "export ")
		name, value, ok := strings.Cut(line, "=")
		if !ok || !isVariable(name) {
			continue
		}
		if value, ok = plainValue(value); ok {
			variables[name] = decoded(value)
		}
	}
	return variables
}

// isVariable reports whether the text is the name of one.
func isVariable(name string) bool {
	for i, r := range name {
		if r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9' || i == 0) {
			return false
		}
	}
	return name != ""
}

// plainValue returns what a shell would make of a value, and whether that is plain.
func plainValue(value string) (plain string, ok bool) {
	const special = "$`\\"
	switch {
	case strings.HasPrefix(value, "'"):
		plain, rest, closed := strings.Cut(value[1:], "'")
		return plain, closed && isRest(rest)
	case strings.HasPrefix(value, `"`):
		plain, rest, closed := strings.Cut(value[1:], `"`)
		return plain, closed && isRest(rest) && !strings.ContainsAny(plain, special)
	}
	plain, rest, _ := strings.Cut(value, " ")
	return plain, isRest(rest) && !strings.ContainsAny(plain, special+`'";|&<>()*?[~`)
}

// isRest reports whether what follows a value in its line means nothing.
func isRest(rest string) bool {
	rest = strings.TrimLeft(rest, " \t")
	return rest == "" || strings.HasPrefix(rest, "#")
}

// decoded returns the value without the encoding that acme.sh has for values with special characters.
func decoded(value string) string {
	inner, ok := strings.CutPrefix(value, "__ACME_BASE64__START_")
	if !ok {
		return value
	}
	if inner, ok = strings.CutSuffix(inner, "__ACME_BASE64__END_"); !ok {
		return value
	}
	plain, err := base64.StdEncoding.DecodeString(inner)
	if err != nil {
		return value
	}
	return string(plain)
}
