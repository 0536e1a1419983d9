package acmetest

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// The problem types that the server answers with (RFC 8555 §6.7, RFC 9773 §7.4,
// draft-ietf-acme-profiles), without their common prefix.
const (
	accountDoesNotExist     = "accountDoesNotExist"
	alreadyReplaced         = "alreadyReplaced"
	alreadyRevoked          = "alreadyRevoked"
	badCSR                  = "badCSR"
	badNonce                = "badNonce"
	badPublicKey            = "badPublicKey"
	badRevocationReason     = "badRevocationReason"
	badSignatureAlgorithm   = "badSignatureAlgorithm"
	compound                = "compound"
	connection              = "connection"
	dnsProblem              = "dns"
	externalAccountRequired = "externalAccountRequired"
	incorrectResponse       = "incorrectResponse"
	invalidContact          = "invalidContact"
	invalidProfile          = "invalidProfile"
	malformed               = "malformed"
	orderNotReady           = "orderNotReady"
	rateLimited             = "rateLimited"
	rejectedIdentifier      = "rejectedIdentifier"
	serverInternal          = "serverInternal"
	tlsProblem              = "tls"
	unauthorized            = "unauthorized"
	unsupportedContact      = "unsupportedContact"
	unsupportedIdentifier   = "unsupportedIdentifier"
	userActionRequired      = "userActionRequired"
)

const problemPrefix = "urn:ietf:params:acme:error:"

// A problem is a problem document (RFC 9457) as RFC 8555 §6.7 uses it.
type problem struct {
	Type        string      `json:"type"`
	Detail      string      `json:"detail"`
	Status      int         `json:"status,omitempty"`
	Identifier  *identifier `json:"identifier,omitempty"` // in subproblems only
	Subproblems []*problem  `json:"subproblems,omitempty"`
	Algorithms  []string    `json:"algorithms,omitempty"` // with badSignatureAlgorithm
	Instance    string      `json:"instance,omitempty"`   // with userActionRequired

	retryAfter time.Duration // for the header; zero: none
}

// Error returns what the problem says.
func (p *problem) Error() string { return p.Detail }

// problemf returns a problem of the named type, with the HTTP status that is usual for it.
func problemf(name, format string, args ...any) *problem {
	status := http.StatusBadRequest
	switch name {
	case unauthorized, orderNotReady, externalAccountRequired, userActionRequired:
		status = http.StatusForbidden
	case alreadyReplaced:
		status = http.StatusConflict
	case rateLimited:
		status = http.StatusTooManyRequests
	case serverInternal:
		status = http.StatusInternalServerError
	}
	return statusProblemf(status, name, format, args...)
}

// statusProblemf is problemf with another HTTP status than the usual one.
func statusProblemf(status int, name, format string, args ...any) *problem {
	return &problem{
		Type:   problemPrefix + name,
		Detail: fmt.Sprintf(format, args...),
		Status: status,
	}
}

// asProblem returns the problem in err, or one that says that the server failed.
func asProblem(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	return problemf(serverInternal, "%v", err)
}

// is reports whether the problem is of the named type.
func (p *problem) is(name string) bool { return p.Type == problemPrefix+name }

// about returns p as a subproblem about id.
func (p *problem) about(id identifier) *problem {
	sub := *p
	sub.Identifier, sub.Status = &id, 0
	return &sub
}

// join returns one problem that has subs as its subproblems; its type is theirs if they agree, else
// compound (RFC 8555 §6.7.1). There must be one at least.
func join(subs []*problem, status int, detail string) *problem {
	joined := statusProblemf(status, compound, "%s", detail)
	joined.Subproblems = subs
	for _, sub := range subs {
		if sub.Type != subs[0].Type {
			return joined
		}
	}
	joined.Type = subs[0].Type
	return joined
}

// writeProblem answers with a problem document.
func writeProblem(w http.ResponseWriter, p *problem) {
	status := cmp.Or(p.Status, http.StatusBadRequest)
	setRetryAfter(w.Header(), p.retryAfter)
	writeDocument(w, "application/problem+json", status, p)
}

// writeJSON answers with a resource.
func writeJSON(w http.ResponseWriter, status int, resource any) {
	writeDocument(w, "application/json", status, resource)
}

func writeDocument(w http.ResponseWriter, contentType string, status int, document any) {
	body, err := json.Marshal(document)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that has gone away is no concern of the server's
}

// quote returns s for use in a problem's detail: quoted, and cut if it is long.
func quote(s string) string {
	const maxLength = 120
	if len(s) > maxLength {
		return fmt.Sprintf("%q…", s[:maxLength])
	}
	return fmt.Sprintf("%q", s)
}
