package diagnose

import "fmt"

// A verdict is a cause in words.
type verdict struct {
	cause  Cause
	reason string
	cure   string
}

// because returns a verdict whose reason is formatted.
func because(cause Cause, cure, format string, args ...any) *verdict {
	return &verdict{cause: cause, reason: fmt.Sprintf(format, args...), cure: cure}
}
