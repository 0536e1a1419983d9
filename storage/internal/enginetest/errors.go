package enginetest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"
	"testing"

	"github.com/everseal/everseal/storage"
)

// Errors holds the errors of an engine's package against what its users have to see.
type Errors struct {
	Package string   // such as "storage/sql"
	Secrets []string // in no error, in whatever form
}

// Want checks an error that is no answer: it has the parts, names the package once and first, fits into one line, and has none of
// the secrets.
func (e Errors) Want(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("it succeeds")
	}
	e.NoSecret(t, err)
	text, prefix := err.Error(), e.Package+": "
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%v\nhas no %q", err, part)
		}
	}
	if !strings.HasPrefix(text, prefix) || strings.Count(text, prefix) != 1 || strings.ContainsAny(text, "\n\r\t") || len(text) > 1000 {
		t.Errorf("%q does not begin with the package, names it twice, has %d bytes, or more than one line", text, len(text))
	}
	for _, answer := range []error{storage.ErrConflict, fs.ErrNotExist, context.DeadlineExceeded} {
		if errors.Is(err, answer) {
			t.Errorf("%v is taken for an answer, or for the caller's deadline", err)
		}
	}
}

// NoSecret looks for the secrets in the error and in what it wraps.
func (e Errors) NoSecret(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	for _, s := range e.Secrets {
		for _, form := range []string{s, url.QueryEscape(s), url.PathEscape(s), url.UserPassword("", s).String()[1:], s[:5]} {
			for _, text := range []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err)} {
				if strings.Contains(text, form) {
					t.Errorf("a secret is in %s", text)
				}
			}
		}
	}
	switch wrapper := err.(type) {
	case interface{ Unwrap() error }:
		e.NoSecret(t, wrapper.Unwrap())
	case interface{ Unwrap() []error }:
		for _, inner := range wrapper.Unwrap() {
			e.NoSecret(t, inner)
		}
	}
}
