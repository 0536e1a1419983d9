package acme

import (
	"slices"
	"strings"
)

// links returns the targets of the Link header's entries that have the relation (RFC 8288), each once. One
// that is no URL is passed over.
func (r *response) links(relation string) []string {
	const maxLinks = 50
	var targets []string
	for _, header := range r.header.Values("Link") {
		for header != "" && len(targets) < maxLinks {
			var target, parameters string
			target, parameters, header = nextLink(header)
			if target == "" || !hasRelation(parameters, relation) {
				continue
			}
			if resolved, err := r.resolve(target); err == nil && len(resolved) <= maxURLLength && !slices.Contains(targets, resolved) {
				targets = append(targets, resolved)
			}
		}
	}
	return targets
}

// nextLink splits the first entry off a Link header: its target, its parameters, and the rest. Commas
// and semicolons within quotes belong to a parameter.
func nextLink(header string) (target, parameters, rest string) {
	_, header, found := strings.Cut(header, "<")
	if !found {
		return "", "", ""
	}
	target, header, found = strings.Cut(header, ">")
	if !found {
		return "", "", ""
	}
	quoted := false
	for i := range len(header) {
		switch {
		case header[i] == '"':
			quoted = !quoted
		case header[i] == ',' && !quoted:
			return target, header[:i], header[i+1:]
		}
	}
	return target, header, ""
}

// hasRelation reports whether the parameters of a link name the relation, maybe among others.
func hasRelation(parameters, relation string) bool {
	for parameter := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(parameter), "=")
		if !strings.EqualFold(strings.TrimSpace(name), "rel") {
			continue
		}
		for _, rel := range strings.Fields(strings.Trim(strings.TrimSpace(value), `"`)) {
			if strings.EqualFold(rel, relation) {
				return true
			}
		}
	}
	return false
}
