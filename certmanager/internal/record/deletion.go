package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// A Deletion is what is left of a certificate that was deleted because its names were given up: by it other members know that they
// are not to serve it on. A record that is gone without one was lost.
type Deletion struct {
	Deleted  time.Time `json:"deleted"`      // UTC
	Obtained time.Time `json:"obtained"`     // as the certificate's record had it, UTC
	End      time.Time `json:"end,omitzero"` // NotAfter of the certificate, if that could be read, UTC
}

// AllDeletions is the prefix that lists the deletions.
const AllDeletions = "deletions"

// DeletionKey returns the storage key of the deletion of the certificate at a key: "deletions/<issuer>/<subject>/<key type>".
func DeletionKey(certificateKey string) string {
	return AllDeletions + strings.TrimPrefix(certificateKey, AllCertificates)
}

// Concerns reports whether the certificate that was obtained then is what was deleted, or older.
func (d *Deletion) Concerns(obtained time.Time) bool { return !obtained.After(d.Obtained) }

// A storedDeletion is version 1 of the record.
type storedDeletion struct {
	Version int `json:"version"`
	Deletion
}

// Encode returns the record as it is stored.
func (d *Deletion) Encode() ([]byte, error) {
	return json.Marshal(storedDeletion{1, Deletion{utc(d.Deleted), utc(d.Obtained), utc(d.End)}})
}

// DecodeDeletion reads a stored record.
func DecodeDeletion(data []byte) (Deletion, error) {
	version, err := versionOf(data)
	if err != nil {
		return Deletion{}, err
	}
	var s storedDeletion
	switch {
	case version != 1:
		return Deletion{}, &VersionError{fmt.Sprint(version)}
	case json.Unmarshal(data, &s) != nil:
		return Deletion{}, errors.New("it is not the JSON of a deletion, or a member of it has the wrong type")
	case s.Obtained.IsZero():
		return Deletion{}, errors.New("it does not say which certificate was deleted")
	}
	return Deletion{utc(s.Deleted), utc(s.Obtained), utc(s.End)}, nil
}
