package nats

import (
	"strconv"
	"strings"

	driver "github.com/nats-io/nats.go"

	"github.com/everseal/everseal/storage"
)

// Headers of a message in the bucket.
const (
	nonceHeader     = "Nats-Msg-Id"        // by which the server knows a message that comes again
	operationHeader = "KV-Operation"       // of a marker, as JetStream's key-value stores have it
	reasonHeader    = "Nats-Marker-Reason" // of a marker that the server has made
	operationDelete = "DEL"
)

const nonceLength = 26 // of rand.Text

// A version is what a [storage.Revision] says: the sequence of the message in the stream, and its nonce. The former could
// return after the stream was restored from a backup, or after a server has lost what it had not written to its disk; the
// latter, if somebody put an old message back.
type version struct {
	sequence uint64
	nonce    string // empty if the message has none, as one that was put there by hand
}

// revision returns the version as the store's callers have it, such as 1764196800000001-KQ3V….
func (v version) revision() storage.Revision {
	return storage.Revision(strconv.FormatUint(v.sequence, 10) + "-" + v.nonce)
}

// versionOf returns what a revision says, and false if it is none of this store's.
func versionOf(revision storage.Revision) (version, bool) {
	number, nonce, found := strings.Cut(string(revision), "-")
	sequence, err := strconv.ParseUint(number, 10, 64)
	v := version{sequence, nonce}
	return v, found && err == nil && sequence > 0 && (nonce == "" || isNonce(nonce)) && v.revision() == revision
}

func isNonce(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'A' || c > 'Z') && (c < '2' || c > '7') {
			return false
		}
	}
	return len(s) == nonceLength
}

// A found is what the stream has for a key. Its zero value stands for nothing.
type found struct {
	version
	value  []byte
	marker bool // it says that the key was deleted
}

func foundIn(sequence uint64, header driver.Header, value []byte) found {
	f := found{version: version{sequence: sequence}, value: value}
	if nonce := header.Get(nonceHeader); isNonce(nonce) {
		f.nonce = nonce
	}
	f.marker = header.Get(operationHeader) != "" || header.Get(reasonHeader) != ""
	return f
}

// exists reports whether there is a record.
func (f found) exists() bool { return f.sequence > 0 && !f.marker }
