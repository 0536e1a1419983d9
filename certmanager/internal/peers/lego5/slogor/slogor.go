// Package slogor stands for gitlab.com/greyxor/slogor, with as much of it as lego's program uses: a log without colors.
package slogor

import (
	"io"
	"log/slog"
)

// An OptionFn is an option of [NewHandler], which heeds none.
type OptionFn func()

// SetLevel is an option.
func SetLevel(slog.Leveler) OptionFn { return nil }

// SetTimeFormat is an option.
func SetTimeFormat(string) OptionFn { return nil }

// DisableColor is an option.
func DisableColor() OptionFn { return nil }

// NewHandler returns a handler that writes text.
func NewHandler(w io.Writer, _ ...OptionFn) slog.Handler { return slog.NewTextHandler(w, nil) }
