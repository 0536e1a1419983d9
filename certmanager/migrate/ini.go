package migrate

import "strings"

// parseINI returns the settings of one section of a file in the form of Python's ConfigObj, as certbot writes them: "key =
// value" in lines, "[section]" before them, values quoted or not. Lists and what is longer than a line are nothing that is
// needed here.
func parseINI(text []byte, section string) map[string]string {
	settings := make(map[string]string)
	current := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "["); ok {
			name, _, _ = strings.Cut(name, "#")
			current = strings.Trim(name, "[] \t")
			if strings.HasPrefix(line, "[[") {
				current = "" // of a section in a section nothing is needed
			}
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || current != section || strings.HasPrefix(line, "#") {
			continue
		}
		settings[unquoted(strings.TrimSpace(key))] = unquoted(strings.TrimSpace(value))
	}
	return settings
}

// unquoted returns the value without its quotes, or what is behind it in the line.
func unquoted(value string) string {
	for _, quote := range []string{`"`, `'`} {
		if inner, ok := strings.CutPrefix(value, quote); ok {
			if inner, _, ok = strings.Cut(inner, quote); ok {
				return inner
			}
		}
	}
	value, _, _ = strings.Cut(value, " #")
	return strings.TrimSpace(value)
}
