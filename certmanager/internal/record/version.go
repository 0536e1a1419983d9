package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// A VersionError says of which version a record is that is of none known here: of a later release of this module, or
// damaged. To replace it would lose what the later release keeps there.
type VersionError struct {
	Version string
}

// Error says which version it is.
func (e *VersionError) Error() string {
	return fmt.Sprintf("its version %.20q is not known here: a later release wrote it, or it is damaged", e.Version)
}

// versionOf returns the version, one of those known, of a record of JSON.
func versionOf(data []byte) (int, error) {
	var of struct {
		Version int `json:"version"`
	}
	if json.Unmarshal(data, &of) != nil {
		return 0, errors.New("it is not JSON with a version")
	}
	if of.Version != 1 && of.Version != 2 {
		return 0, &VersionError{strconv.Itoa(of.Version)}
	}
	return of.Version, nil
}
