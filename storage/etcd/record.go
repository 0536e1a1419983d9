package etcd

import (
	"bytes"
	"crypto/rand"
	"strconv"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/everseal/everseal/storage"
)

// A stored value is a line with the nonce of the Save that stored it, and the value as it is.
const (
	nonceLength = 26 // of rand.Text
	nonceEnd    = '\n'
)

// encode returns what is stored for a value, and its nonce.
func encode(value []byte) (stored, nonce string) {
	nonce = rand.Text()
	var text strings.Builder
	text.Grow(nonceLength + 1 + len(value))
	text.WriteString(nonce)
	text.WriteByte(nonceEnd)
	text.Write(value)
	return text.String(), nonce
}

// decode returns the value and the nonce of what is stored. What was put there by hand has no nonce, and is the value.
func decode(stored []byte) (value []byte, nonce string) {
	before, after, found := bytes.Cut(stored, []byte{nonceEnd})
	if !found || !isNonce(string(before)) {
		return stored, ""
	}
	return after, string(before)
}

func isNonce(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'A' || c > 'Z') && (c < '2' || c > '7') {
			return false
		}
	}
	return len(s) == nonceLength
}

// A version is what a [storage.Revision] says: the revision of etcd at which the key was changed, and the nonce. The former
// alone could return, after the cluster was restored from a snapshot; the latter alone, after somebody has put back an
// old value by hand.
type version struct {
	modified int64
	nonce    string // empty if what is stored has none
}

// revision returns the version as the store's callers have it, such as 1234-KQ3V….
func (v version) revision() storage.Revision {
	return storage.Revision(strconv.FormatInt(v.modified, 10) + "-" + v.nonce)
}

// versionOf returns what a revision says, and false if it is none of this store's.
func versionOf(revision storage.Revision) (version, bool) {
	number, nonce, found := strings.Cut(string(revision), "-")
	modified, err := strconv.ParseInt(number, 10, 64)
	v := version{modified, nonce}
	return v, found && err == nil && modified > 0 && (nonce == "" || isNonce(nonce)) && v.revision() == revision
}

// conditions are those under which the key has the version.
func (v version) conditions(key string) []clientv3.Cmp {
	all := []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(key), "=", v.modified)}
	if v.nonce != "" {
		all = append(all, hasNonce(key, v.nonce)...)
	}
	return all
}

// hasNonce are the conditions under which what is stored begins with the nonce and the end of its line: it comes after the nonce
// alone, and before all that have a greater byte in that place.
func hasNonce(key, nonce string) []clientv3.Cmp {
	return []clientv3.Cmp{
		clientv3.Compare(clientv3.Value(key), ">", nonce),
		clientv3.Compare(clientv3.Value(key), "<", nonce+string(rune(nonceEnd+1))),
	}
}

// absent is the condition under which the key does not exist.
func absent(key string) []clientv3.Cmp {
	return []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(key), "=", 0)}
}
