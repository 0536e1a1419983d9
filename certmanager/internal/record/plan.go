package record

import (
	"net/url"
	"strings"
	"time"
)

const (
	maxPlanText    = 100 // of a plan's issuer and serial number, in bytes
	maxExplanation = 512 // in bytes; a longer URL is not kept
)

// A Plan is when one certificate is to be renewed by its issuer's word (RFC 9773), and when that is asked next. The zero value
// says that it was not asked. One that names another certificate than is served says nothing.
type Plan struct {
	Issuer string `json:"issuer,omitempty"` // Issuer.ID
	Serial string `json:"serial,omitempty"` // hexadecimal

	Start   time.Time `json:"start,omitzero"`   // of the window that the issuer suggests, UTC; zero: it has not, as what follows
	End     time.Time `json:"end,omitzero"`     // of the window, UTC
	Renewal time.Time `json:"renewal,omitzero"` // the instant chosen, UTC

	Explanation string `json:"explanationURL,omitempty"` // page on the reason of the window; empty: there is none

	Polled   time.Time `json:"polled,omitzero"`    // when the issuer was asked last, UTC
	Next     time.Time `json:"next,omitzero"`      // when it is to be asked next, UTC
	Failures int       `json:"failures,omitempty"` // of questions in a row
	Early    int       `json:"early,omitempty"`    // certificates in a row before this one that the issuer wanted replaced early
}

// Is reports whether the plan is of the issuer's certificate with that serial number.
func (p *Plan) Is(issuer, serial string) bool {
	return p.Serial != "" && p.Serial == serial && p.Issuer == issuer
}

// bounded returns the plan as it is kept. One that makes no sense says nothing.
func (p Plan) bounded() Plan {
	if len(p.Issuer) > maxPlanText || len(p.Serial) > maxPlanText || p.Failures < 0 || p.Early < 0 {
		return Plan{}
	}
	p.Start, p.End, p.Renewal, p.Polled, p.Next = utc(p.Start), utc(p.End), utc(p.Renewal), utc(p.Polled), utc(p.Next)
	p.Explanation = Page(p.Explanation)
	return p
}

// Page returns the URL of a page for people to read, or "" if it can't be shown to them as it is, or is of more than 512 bytes.
func Page(text string) string {
	u, err := url.Parse(text)
	isHidden := func(r rune) bool { return r <= ' ' || r > '~' }
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || len(text) > maxExplanation ||
		strings.ContainsFunc(text, isHidden) {
		return ""
	}
	return text
}
