package certmanager

import (
	"errors"
	"fmt"
	"strings"
)

// A misconfiguration is what is wrong with a configuration: all of it, to be mended at once.
type misconfiguration struct{ errs []error }

// add notes errors, but those that are nil.
func (m *misconfiguration) add(errs ...error) {
	for _, err := range errs {
		if all, ok := err.(*misconfiguration); ok {
			m.errs = append(m.errs, all.errs...)
		} else if err != nil {
			m.errs = append(m.errs, err)
		}
	}
}

// addf notes an error.
func (m *misconfiguration) addf(format string, args ...any) { m.add(fmt.Errorf(format, args...)) }

// err returns what was noted as one error, or nil.
func (m *misconfiguration) err() error {
	if len(m.errs) == 0 {
		return nil
	}
	return m
}

// Error says what is wrong, of very much only the beginning.
func (m *misconfiguration) Error() string {
	const most = 5
	words := make([]string, 0, most)
	for _, err := range m.errs[:min(len(m.errs), most)] {
		words = append(words, strings.TrimPrefix(err.Error(), "certmanager: "))
	}
	text := "certmanager: " + strings.Join(words, "; ")
	if more := len(m.errs) - most; more > 0 {
		text += fmt.Sprintf("; and %d more are wrong", more)
	}
	return text
}

// Unwrap returns what is wrong.
func (m *misconfiguration) Unwrap() []error { return m.errs }

var errNoNames = errors.New("a Subject has no names")
