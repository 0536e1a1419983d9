package diagnose

import (
	"strings"

	"github.com/everseal/everseal/acme"
)

// problemOf returns what the CA said of the identifier: the words of its own authorization if there are
// some, else the first of all.
func problemOf(err error, name string) *acme.Problem {
	var first, own *acme.Problem
	var walk func(err error, depth int)
	walk = func(err error, depth int) {
		const maxDepth = 30
		if err == nil || depth > maxDepth || own != nil {
			return
		}
		switch e := err.(type) {
		case *acme.AuthorizationError:
			if e.Problem != nil && strings.EqualFold(e.Identifier, name) {
				own = e.Problem
				return
			}
		case *acme.Problem:
			if e.Identifier != nil && strings.EqualFold(e.Identifier.Value, strings.TrimPrefix(name, "*.")) {
				own = e
				return
			}
			if first == nil {
				first = e
			}
		}
		switch e := err.(type) {
		case interface{ Unwrap() error }:
			walk(e.Unwrap(), depth+1)
		case interface{ Unwrap() []error }:
			for _, err := range e.Unwrap() {
				walk(err, depth+1)
			}
		}
	}
	walk(err, 0)
	if own != nil {
		return own
	}
	return first
}
