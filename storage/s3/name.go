package s3

import (
	"strings"

	"github.com/everseal/everseal/storage"
)

// The name of a record's object is its key with these bytes, which no key has:
//
//	prefix/certificates/a.example.com!     is the record "certificates/a.example.com"
//	prefix/certificates/a.example.com/b!   is the record below it
//	prefix/xxxx…!/xxx!                     is a segment of more than 200 bytes
//
// So no object's name is the folder of another's, which servers that keep objects in files can't have, and no part of
// one is longer than they can have. The end sorts before all that goes on.
const (
	nameEnd    = "!"
	segmentCut = "!/"
	maxSegment = 200
)

// encode returns the name of the key without prefix and end.
func encode(key string) string {
	if len(key) <= maxSegment {
		return key
	}
	var name strings.Builder
	for i, segment := range strings.Split(key, "/") {
		if i > 0 {
			name.WriteByte('/')
		}
		for len(segment) > maxSegment {
			name.WriteString(segment[:maxSegment])
			name.WriteString(segmentCut)
			segment = segment[maxSegment:]
		}
		name.WriteString(segment)
	}
	return name.String()
}

// name returns the name of a record's object.
func (s *Store) name(key string) string { return s.prefix + encode(key) + nameEnd }

// key returns the key of a record by the name of its object, or nothing for what is no record.
func (s *Store) key(name string) string {
	rest, inside := strings.CutPrefix(name, s.prefix)
	rest, ended := strings.CutSuffix(rest, nameEnd)
	if !inside || !ended {
		return ""
	}
	key := strings.ReplaceAll(rest, segmentCut, "")
	if storage.CheckKey(key) != nil || encode(key) != rest {
		return ""
	}
	return key
}
