package certmanager

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/everseal/everseal/certmanager/internal/record"
)

// maxRelease bounds the versions of records that later releases may come to. One beyond is damage.
const maxRelease = 1000

// ofLaterRelease returns the error for a record that a later release wrote, if err says that it is one; else nil. Such a
// record is left alone: what stands there is good for other members of the fleet.
func ofLaterRelease(key string, err error) error {
	v, ok := errors.AsType[*record.VersionError](err)
	if !ok {
		return nil
	}
	if n, err := strconv.Atoi(v.Version); err != nil || n < 1 || n > maxRelease {
		return nil
	}
	return fmt.Errorf("the stored record %s is left alone: %w; run a release on this member that is as new as those of the others, or delete the record if there are no others", key, err)
}
