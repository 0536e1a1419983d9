package acme

import (
	"encoding/json"
	"net/url"
	"strings"
	"time"
	"unicode"
)

// What a CA need not say is no reason to refuse the rest of what it says: an odd value counts as none.

// readTime returns the time in a member of a resource (RFC 3339), or zero if none can be read. One without a
// zone, which some CAs leave out, is in UTC.
func readTime(data json.RawMessage) time.Time {
	const longest = 64
	var text string
	if json.Unmarshal(data, &text) != nil || len(text) > longest {
		return time.Time{}
	}
	text = strings.Replace(strings.ToUpper(strings.TrimSpace(text)), " ", "T", 1)
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t
		}
	}
	return time.Time{}
}

// readPageURL returns the URL in a member of a resource of a page for people to read, or "" if there is none that
// can be shown to them as it is.
func readPageURL(data json.RawMessage) string {
	const longest = 2000
	var text string
	if json.Unmarshal(data, &text) != nil || len(text) > longest {
		return ""
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil {
		return ""
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r == ' ' || r == unicode.ReplacementChar || !unicode.IsPrint(r) }) {
		return ""
	}
	return text
}
