package dnsserver

import (
	"slices"
	"strings"
)

// Records are the TXT records that there are at one time. Names are bare: in lower case, without a final dot. The zero value
// has none.
type Records struct {
	texts map[string][]string
	above map[string]bool // names below which there are others
}

// Add adds a record. A value that its name has already is not added.
func (r *Records) Add(name, value string) {
	if r.texts == nil {
		r.texts, r.above = make(map[string][]string), make(map[string]bool)
	}
	if slices.Contains(r.texts[name], value) {
		return
	}
	r.texts[name] = append(r.texts[name], value)
	for _, above, ok := strings.Cut(name, "."); ok && !r.above[above]; _, above, ok = strings.Cut(above, ".") {
		r.above[above] = true
	}
}

// Texts returns the values at a name.
func (r *Records) Texts(name string) []string { return r.texts[name] }

// exists reports whether there is anything at a name or below it.
func (r *Records) exists(name string) bool { return r.above[name] || len(r.texts[name]) > 0 }
