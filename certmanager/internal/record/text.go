package record

import (
	"errors"
	"strings"
	"unicode"
)

// cut returns s without what is beyond the limit of bytes, or is no UTF-8, such as a rune that was cut.
func cut(s string, limit int) string {
	return strings.ToValidUTF8(s[:min(len(s), limit)], "")
}

// printable returns s as it fits into a log line, without what is beyond the limit of bytes.
func printable(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, cut(s, limit))
	return cut(s, limit)
}

// unreadable returns the error of a parser without what a hostile record may have put into it.
func unreadable(err error) error { return errors.New(printable(err.Error(), 200)) }
