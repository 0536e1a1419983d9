//go:build !unix

package engines

import "errors"

// now fails: no clock is known to be the same in all processes.
func now() (int64, error) { return 0, errors.ErrUnsupported }
