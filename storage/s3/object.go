package s3

import (
	"bytes"
	"crypto/rand"
	"errors"
	"strings"

	"github.com/everseal/everseal/storage"
)

// An object is what is stored under a record's name. The zero object is what is not there.
type object struct {
	etag  storage.Revision
	nonce string // of the write that made it
	live  bool   // it is a record; else a tombstone
	value []byte // of a record
}

// What objects begin with. The digit is the version of the layout.
const (
	recordMark    = "everseal/1 "
	tombstoneMark = "deleted/1 "
	anyRecord     = "everseal/"
	anyTombstone  = "deleted/"
	nonceLength   = 26 // of rand.Text
)

const (
	// recordHeader is the least that a record has, in bytes. Tombstones are shorter: a listing, which has sizes, tells
	// them apart.
	recordHeader  = len(recordMark) + nonceLength + len("\n")
	tombstoneSize = len(tombstoneMark) + nonceLength

	sealedExtra = 256 // bytes that a sealed value may be longer than storage.MaxValue
	maxObject   = recordHeader + storage.MaxValue + sealedExtra
)

var (
	errForeign = errors.New("the object was not written by this library, and is left alone: remove it, or give the store a prefix of its own")
	errVersion = errors.New("the object was written by another version of this library: update this one, or give the store a prefix of its own")
)

// newRecord returns the bytes of a record, and the nonce that is in them.
func newRecord(value []byte) (body []byte, nonce string) {
	nonce = rand.Text()
	body = make([]byte, 0, recordHeader+len(value))
	body = append(body, recordMark...)
	body = append(body, nonce...)
	body = append(body, '\n')
	return append(body, value...), nonce
}

// newTombstone returns the bytes of what takes the place of a record that is deleted, and their nonce.
func newTombstone() (body []byte, nonce string) {
	nonce = rand.Text()
	return []byte(tombstoneMark + nonce), nonce
}

// parse reads what newRecord and newTombstone have made.
func parse(body []byte) (object, error) {
	start := string(body[:min(len(body), recordHeader)])
	if rest, found := strings.CutPrefix(start, tombstoneMark); found && len(body) == tombstoneSize {
		return object{nonce: rest}, nil
	}
	if rest, found := strings.CutPrefix(start, recordMark); found && len(start) == recordHeader && rest[nonceLength] == '\n' {
		return object{nonce: rest[:nonceLength], live: true, value: bytes.Clone(body[recordHeader:])}, nil
	}
	if strings.HasPrefix(start, anyRecord) || strings.HasPrefix(start, anyTombstone) {
		return object{}, errVersion
	}
	return object{}, errForeign
}

// revisionOf returns the ETag of an answer as a revision, without its quotes. There is none in what is empty or only a weak
// one, which no condition can name.
func revisionOf(etag *string) (storage.Revision, error) {
	if etag == nil {
		return "", errNoETag
	}
	revision := storage.Revision(strings.Trim(*etag, `"`))
	if !isRevision(revision) {
		return "", errNoETag
	}
	return revision, nil
}

// isRevision reports whether it can be an ETag. There is no * in it, which some servers take for any.
func isRevision(revision storage.Revision) bool {
	const longest = 256
	for i := range len(revision) {
		c := revision[i]
		plain := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !plain && strings.IndexByte("-_.+/=:", c) < 0 || c == '/' && i == 1 && revision[0] == 'W' {
			return false
		}
	}
	return revision != "" && len(revision) <= longest
}
