// Package escape makes what came from elsewhere fit for a line of text: bounded, and without what does not print.
package escape

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// Text returns s fit for a line of text: what does not print is escaped, and of more than limit bytes
// the rest is left out.
func Text(s string, limit int) string {
	cut := len(s) > limit
	if cut {
		s = strings.ToValidUTF8(s[:limit], "")
	}
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
		quoted := strconv.Quote(s)
		s = strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
	}
	if cut {
		s += "…"
	}
	return s
}

// Error returns an error in whose text the words of a server or a program may stand as one that cuts them off, and
// escapes what does not print.
func Error(err error) error { return peerError{err} }

type peerError struct{ err error }

func (e peerError) Error() string {
	quoted := strconv.Quote(fmt.Sprintf("%.300s", e.err.Error()))
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

func (e peerError) Unwrap() error { return e.err }

// Errors are reasons of one failure, in one line.
type Errors []error

// Error lists them.
func (f Errors) Error() string {
	words := make([]string, len(f))
	for i, err := range f {
		words[i] = err.Error()
	}
	return strings.Join(words, "; ")
}

// Unwrap returns them.
func (f Errors) Unwrap() []error { return f }
