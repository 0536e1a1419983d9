package solver

import "strings"

// An inner error is a part of another: its text lacks the package's name, which the whole begins with.
type inner struct{ error }

func (e inner) Error() string { return strings.TrimPrefix(e.error.Error(), "solver: ") }

func (e inner) Unwrap() error { return e.error }
