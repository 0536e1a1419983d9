package storage

import (
	"fmt"
	"strings"
)

// CheckKey returns nil if key may be used with a [Store], else an error that wraps [ErrInvalidKey] and
// says which rule was broken.
//
// A key has 1 to [MaxKey] bytes. It consists of segments separated by "/", none of them empty, "." or
// "..". Segments are made of lower-case letters, digits and the bytes "-._*:+=@~,": what a lower-case
// domain, an IP address and base64url in lower case can have. Upper case is refused because some file
// systems do not tell it from lower case.
func CheckKey(key string) error {
	switch {
	case key == "":
		return fmt.Errorf("%w: it is empty", ErrInvalidKey)
	case len(key) > MaxKey:
		return fmt.Errorf("%w: %.64q… has %d bytes, %d are allowed", ErrInvalidKey, key, len(key), MaxKey)
	}
	for i := range len(key) {
		if !isKeyByte(key[i]) && key[i] != '/' {
			return fmt.Errorf("%w: %.64q: the byte %q is not allowed, only a-z, 0-9, / and -._*:+=@~,",
				ErrInvalidKey, key, key[i:i+1])
		}
	}
	for segment := range strings.SplitSeq(key, "/") {
		switch segment {
		case "":
			return fmt.Errorf("%w: %.64q has an empty segment", ErrInvalidKey, key)
		case ".", "..":
			return fmt.Errorf("%w: %.64q has the segment %q", ErrInvalidKey, key, segment)
		}
	}
	return nil
}

func isKeyByte(b byte) bool {
	return isPlain(b) || strings.IndexByte("*:+=@~,", b) >= 0
}

// isPlain reports whether b stands for itself in the file names of a [Dir].
func isPlain(b byte) bool {
	return 'a' <= b && b <= 'z' || '0' <= b && b <= '9' || b == '-' || b == '.' || b == '_'
}
