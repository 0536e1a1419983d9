package s3

import (
	"bytes"
	"context"
	"crypto/fips140"
	"crypto/md5"
	"encoding/hex"
	"errors"

	"github.com/everseal/everseal/storage"
)

// readTries is how often an object is read that others change each time.
const readTries = 10

var errTorn = errors.New("the service hands out data with the ETag of others, again and again")

// read returns what an object has, and no ETag if there is none. Services other than AWS may read data and ETag apart, and
// others change the object in between: who then saved by that ETag would overwrite what it has not seen. Where ETags
// are the MD5 of the data, as they are for most, that shows, and the object is read again. Where they are not, an object is
// read twice.
func (s *Store) read(ctx context.Context, name string) ([]byte, storage.Revision, error) {
	var before []byte
	var etagBefore storage.Revision
	for range readTries {
		body, etag, err := s.readOnce(ctx, name)
		if err != nil || etag == "" || s.address == "" || isWhole(body, etag) {
			return body, etag, err
		}
		if etag == etagBefore && bytes.Equal(body, before) {
			return body, etag, nil
		}
		before, etagBefore = body, etag
	}
	return nil, "", errTorn
}

// isWhole reports whether the ETag is known to be that of the data.
func isWhole(body []byte, etag storage.Revision) bool {
	if fips140.Enabled() {
		return true // there is no MD5
	}
	sum := md5.Sum(body)
	return hex.EncodeToString(sum[:]) == string(etag)
}
