package deploy

import (
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	maxOutput   = 64 << 10 // bytes of the program's output that are kept
	maxReported = 300      // bytes of them in an error
	minSecret   = 8        // bytes of a variable's value that may be a secret
)

// A tail keeps the end of what is written to it.
type tail struct{ kept []byte }

func (t *tail) Write(p []byte) (int, error) {
	const maxKept = maxOutput / 2 // of either: cut seldom, and then much
	last := p[max(0, len(p)-maxKept):]
	if len(t.kept)+len(last) > maxOutput {
		t.kept = append(t.kept[:0], t.kept[len(t.kept)-maxKept:]...)
	}
	t.kept = append(t.kept, last...)
	return len(p), nil
}

// last returns the end of the output in one line. Neither keys are in it, nor the values of variables that may be secrets:
// their names stand in their place.
func (t *tail) last(environment []string) string {
	text := strings.TrimSpace(maskVariables(maskKeys(string(t.kept)), environment))
	if text == "" {
		return "nothing"
	}
	quoted := strconv.Quote(text[max(0, len(text)-maxReported):])
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

// maskKeys returns the text without what is PEM or looks like a part of it. Where the output was cut, a block may lack its
// beginning, and where the program has cut it, its end.
func maskKeys(text string) string {
	const line = `[A-Za-z0-9+/=]+[ \t\r\n]+`
	for _, block := range []string{`-----BEGIN [A-Z ]*-----(?s:.*?)(-----END [A-Z ]*-----|\z)`, `(` + line + `)+-----END [A-Z ]*-----`} {
		text = regexp.MustCompile(block).ReplaceAllString(text, "<PEM>")
	}
	lines := regexp.MustCompile(`[A-Za-z0-9+/=]{40,}(\s+[A-Za-z0-9+/=]{20,})*`)
	return lines.ReplaceAllStringFunc(text, func(found string) string {
		const lower = "abcdefghijklmnopqrstuvwxyz"
		if strings.ContainsAny(found, lower) && strings.ContainsAny(found, strings.ToUpper(lower)) && strings.ContainsAny(found, "0123456789") {
			return "<PEM>"
		}
		return found // a path
	})
}

// maskVariables returns the text without the values of the variables that may be secrets.
func maskVariables(text string, environment []string) string {
	var values [][2]string
	for _, variable := range environment {
		name, value, _ := strings.Cut(variable, "=")
		if len(value) >= minSecret && !isOrdinary(name) && !filepath.IsAbs(value) {
			values = append(values, [2]string{value, "<" + name + ">"})
		}
	}
	slices.SortStableFunc(values, func(a, b [2]string) int { return len(b[0]) - len(a[0]) }) // one may begin as another does
	var pairs []string
	for _, v := range values {
		pairs = append(pairs, v[:]...)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// isOrdinary reports whether a variable is one of those that are set for every program, and hold no secret.
func isOrdinary(variable string) bool {
	switch variable = strings.ToUpper(variable); variable {
	case "HOME", "HOSTNAME", "LANG", "LOGNAME", "OLDPWD", "PATH", "PWD", "SHELL", "TERM", "TMPDIR", "TZ", "USER", "RENEWED_DOMAINS", "RENEWED_LINEAGE":
		return true
	}
	return strings.HasPrefix(variable, "LC_") || strings.HasSuffix(variable, "ENV")
}
