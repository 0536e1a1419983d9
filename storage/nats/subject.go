package nats

import (
	"strings"

	"github.com/everseal/everseal/storage"
)

// Subjects are what JetStream's key-value stores call keys: segments become tokens. "/" is written as ".", and ".", which is
// frequent in names, as "/"; a-z, 0-9, "-" and "_" stand for themselves, and any other byte is "=" with two hexadecimal
// digits.
const (
	hexadecimal = "0123456789abcdef"
	everything  = ">" // all subjects
	below       = ".>"
)

// subjectOf returns the subject of a key, without the bucket's. It has at most three times as many bytes.
func subjectOf(key string) string {
	var b strings.Builder
	b.Grow(len(key) + 8)
	for i := range len(key) {
		switch c := key[i]; {
		case c == '/':
			b.WriteByte('.')
		case c == '.':
			b.WriteByte('/')
		case isPlain(c):
			b.WriteByte(c)
		default:
			b.WriteByte('=')
			b.WriteByte(hexadecimal[c>>4])
			b.WriteByte(hexadecimal[c&15])
		}
	}
	return b.String()
}

// keyOf returns the key of a subject, and false if it is none that a store has made.
func keyOf(subject string) (string, bool) {
	key := make([]byte, 0, len(subject))
	for i := 0; i < len(subject); i++ {
		switch c := subject[i]; c {
		case '.':
			key = append(key, '/')
		case '/':
			key = append(key, '.')
		case '=':
			if i+2 >= len(subject) {
				return "", false
			}
			high, low := strings.IndexByte(hexadecimal, subject[i+1]), strings.IndexByte(hexadecimal, subject[i+2])
			if high < 0 || low < 0 {
				return "", false
			}
			key = append(key, byte(high<<4|low))
			i += 2
		default:
			key = append(key, c)
		}
	}
	return string(key), storage.CheckKey(string(key)) == nil && subjectOf(string(key)) == subject
}

func isPlain(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

// subjectsOf returns the subjects, without the bucket's, of all keys at or below the prefix.
func subjectsOf(prefix string) []string {
	if prefix == "" {
		return []string{everything}
	}
	subject := subjectOf(prefix)
	return []string{subject, subject + below}
}
