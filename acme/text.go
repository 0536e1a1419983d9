package acme

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// printable returns s fit for a log line: what does not print is escaped, and of more than limit
// bytes the rest is left out.
func printable(s string, limit int) string {
	cut := len(s) > limit
	if cut {
		s = strings.ToValidUTF8(s[:limit], "")
	}
	if strings.ContainsFunc(s, unprintable) {
		quoted := strconv.Quote(s)
		s = strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
	}
	if cut {
		s += "…"
	}
	return s
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }

// isBase64URL reports whether s is not empty and has the characters of base64url only.
func isBase64URL(s string) bool {
	return s != "" && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

// actionError returns the error of an action of the client.
func actionError(action string, err error) error {
	return fmt.Errorf("acme: %s: %w", action, inner{err})
}

// about returns the beginning of an error's text that says what it is about: an identifier and a type of
// challenge, either of which may be empty.
func about(identifier, challengeType string) string {
	text := ""
	if identifier != "" {
		text = printable(identifier, 260) + ": "
	}
	if challengeType != "" {
		text += printable(challengeType, 40) + ": "
	}
	return text
}

// An inner error is a part of another: its text lacks the package's name, which the whole begins with.
type inner struct{ error }

func (e inner) Error() string { return strings.TrimPrefix(e.error.Error(), "acme: ") }
func (e inner) Unwrap() error { return e.error }

// joined returns the texts of the errors, of which a hostile CA may have made many and long ones. Of those
// beyond the bound the first 300 bytes are left: they name the identifier.
func joined(errs []error) string {
	const maxLength = 64 << 10
	var b strings.Builder
	for i, err := range errs {
		if i > 0 {
			b.WriteString("; ")
		}
		text := inner{err}.Error()
		if b.Len()+len(text) > maxLength {
			text = printable(text, 300)
		}
		b.WriteString(text)
	}
	return b.String()
}

// Bounds on what a CA can ask for. One request a week does no harm, and a name that sleeps for a month does;
// of a front end, which knows nothing of the CA's limits, an hour is enough.
const (
	maxRetryAfter         = 7 * 24 * time.Hour
	maxFrontEndRetryAfter = time.Hour
)

// retryAfter returns the wait that the Retry-After header asks for, in seconds or as a date
// (RFC 9110 §10.2.3), which may be a century: zero if it is missing, unreadable or in the past.
func retryAfter(h http.Header, now time.Time) time.Duration {
	const maxWait = 100 * 365 * 24 * time.Hour // a Duration holds three times as much
	value := strings.TrimSpace(h.Get("Retry-After"))
	if value == "" {
		return 0
	}
	var wait time.Duration
	if strings.Trim(strings.TrimPrefix(value, "+"), "0123456789") == "" {
		// What is too large for a number is cut to the largest.
		seconds, _ := strconv.ParseInt(value, 10, 64)
		wait = time.Duration(min(seconds, int64(maxWait/time.Second))) * time.Second
	} else if date, err := http.ParseTime(value); err == nil {
		// The date is by the CA's clock, and so is that of the answer.
		if sent, err := http.ParseTime(h.Get("Date")); err == nil {
			now = sent
		}
		wait = date.Sub(now)
	}
	return min(max(wait, 0), maxWait)
}

// foreign reports whether no URL has the character (RFC 3986).
func foreign(r rune) bool { return r <= ' ' || r > '~' }
