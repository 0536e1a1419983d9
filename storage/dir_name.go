package storage

import (
	"crypto/sha256"
	"encoding/hex"
	"path"
	"strings"
)

const (
	itemSuffix = ".item"
	// shortMark stands in shortened names only: it is not plain, and encoding leaves only plain bytes and "%".
	shortMark = "~"
	// File systems allow 255 bytes. A shortened name is shortPrefix, the mark and 64 hexadecimal digits.
	maxName     = 200
	shortPrefix = 100
)

// fileName returns the slash-separated path of key's file below the folder: a folder for each segment
// but the last, which is a file with itemSuffix.
func fileName(key string) string {
	folder, last := path.Split(key)
	return path.Join(folderName(strings.TrimSuffix(folder, "/")), encodeSegment(last)+itemSuffix)
}

// folderName returns the path of the folder that holds what lies below key; "" for the empty key.
func folderName(key string) string {
	if key == "" {
		return ""
	}
	segments := strings.Split(key, "/")
	for i, segment := range segments {
		segments[i] = encodeFolder(segment)
	}
	return strings.Join(segments, "/")
}

// encodeFolder makes the name of a folder of a segment: one that no file has.
func encodeFolder(segment string) string {
	name := encodeSegment(segment)
	if before, found := strings.CutSuffix(name, itemSuffix); found {
		return before + "%2e" + strings.TrimPrefix(itemSuffix, ".")
	}
	return name
}

// encodeSegment makes a file name of a segment. Bytes that are not plain become "%" and two lower-case
// hexadecimal digits; so do a dot at either end and the first letter of a name that Windows keeps for
// a device. Names that come out too long keep their beginning and are made unique by a hash.
func encodeSegment(segment string) string {
	if isPlainName(segment) {
		return segment
	}
	device := isDevice(segment)
	var name strings.Builder
	for i := range len(segment) {
		b := segment[i]
		outer := i == 0 || i == len(segment)-1
		if isPlain(b) && !(b == '.' && outer) && !(i == 0 && device) {
			name.WriteByte(b)
			continue
		}
		name.WriteByte('%')
		name.WriteString(hex.EncodeToString([]byte{b}))
	}
	if name.Len() <= maxName {
		return name.String()
	}
	digest := sha256.Sum256([]byte(segment))
	return name.String()[:shortPrefix] + shortMark + hex.EncodeToString(digest[:])
}

// decodeFolder returns the segment whose folder is name; ok is false if no segment's is, and for a shortened name, which
// does not tell.
func decodeFolder(name string) (segment string, ok bool) {
	segment, ok = decodeSegment(name)
	return segment, ok && encodeFolder(segment) == name
}

// decodeFile does the same for a file.
func decodeFile(name string) (segment string, ok bool) {
	encoded, found := strings.CutSuffix(name, itemSuffix)
	if !found {
		return "", false
	}
	segment, ok = decodeSegment(encoded)
	return segment, ok && encodeSegment(segment) == encoded
}

// mayHoldKeys reports whether a folder of this name is one of a key's: others are foreign, and so are Dir's own.
func mayHoldKeys(name string) bool {
	_, ok := decodeFolder(name)
	return ok || isShortened(name)
}

// isShortened reports whether the name of a folder or a file looks as encodeSegment shortens it.
func isShortened(name string) bool {
	return len(name) > shortPrefix && strings.HasPrefix(name[shortPrefix:], shortMark)
}

// decodeSegment undoes encodeSegment if that can be done: ok is false for shortened names and for
// most of those that encodeSegment does not make. The caller encodes again to rule out the others.
func decodeSegment(name string) (segment string, ok bool) {
	if isPlainName(name) {
		return name, true
	}
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		switch {
		case isPlain(name[i]):
			b.WriteByte(name[i])
		case name[i] == '%' && i+2 < len(name):
			decoded, err := hex.DecodeString(name[i+1 : i+3])
			if err != nil || !isKeyByte(decoded[0]) {
				return "", false
			}
			b.Write(decoded)
			i += 2
		default:
			return "", false
		}
	}
	return b.String(), true
}

// decodeFileName returns the key whose file is name; ok is false if no key's is, and for a name with a
// shortened part, which does not tell.
func decodeFileName(name string) (key string, ok bool) {
	segments := strings.Split(name, "/")
	last := len(segments) - 1
	for i, segment := range segments[:last] {
		if segments[i], ok = decodeFolder(segment); !ok {
			return "", false
		}
	}
	if segments[last], ok = decodeFile(segments[last]); !ok {
		return "", false
	}
	key = strings.Join(segments, "/")
	return key, CheckKey(key) == nil
}

// isPlainName reports whether a segment is its own name, as most are.
func isPlainName(segment string) bool {
	for i := range len(segment) {
		if !isPlain(segment[i]) {
			return false
		}
	}
	return len(segment) <= maxName && !strings.HasPrefix(segment, ".") && !strings.HasSuffix(segment, ".") && !isDevice(segment)
}

// isDevice reports whether Windows takes a file of this name, whatever follows its first dot, for a device.
func isDevice(name string) bool {
	name, _, _ = strings.Cut(name, ".")
	switch name {
	case "con", "prn", "aux", "nul":
		return true
	}
	return len(name) == 4 && (strings.HasPrefix(name, "com") || strings.HasPrefix(name, "lpt")) &&
		'0' <= name[3] && name[3] <= '9'
}
