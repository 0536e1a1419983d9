package acme

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// A ProblemType is the type of a [Problem]. It is itself an error, to be compared with:
//
//	if errors.Is(err, acme.ErrRateLimited) { … }
//
// which finds it in a problem, its subproblems and through any wrapping.
type ProblemType string

// Error returns the type's name without the prefix that all ACME types share.
func (t ProblemType) Error() string {
	return cmp.Or(printable(strings.TrimPrefix(string(t), problemPrefix), 100), "a problem without a type")
}

const problemPrefix = "urn:ietf:params:acme:error:"

// The problem types of RFC 8555 §6.7 and of what extends it: RFC 8739 (autoRenewal…), RFC 9115
// (unknownDelegation), RFC 9773 (alreadyReplaced), RFC 9799 (onionCAARequired), draft-ietf-acme-profiles
// (invalidProfile) and draft-ietf-acme-device-attest (badAttestationStatement). A CA may use others.
const (
	ErrAccountDoesNotExist               ProblemType = problemPrefix + "accountDoesNotExist"
	ErrAlreadyReplaced                   ProblemType = problemPrefix + "alreadyReplaced"
	ErrAlreadyRevoked                    ProblemType = problemPrefix + "alreadyRevoked"
	ErrAutoRenewalCanceled               ProblemType = problemPrefix + "autoRenewalCanceled"
	ErrAutoRenewalExpired                ProblemType = problemPrefix + "autoRenewalExpired"
	ErrAutoRenewalCancellationInvalid    ProblemType = problemPrefix + "autoRenewalCancellationInvalid"
	ErrAutoRenewalRevocationNotSupported ProblemType = problemPrefix + "autoRenewalRevocationNotSupported"
	ErrBadAttestationStatement           ProblemType = problemPrefix + "badAttestationStatement"
	ErrBadCSR                            ProblemType = problemPrefix + "badCSR"
	ErrBadNonce                          ProblemType = problemPrefix + "badNonce"
	ErrBadPublicKey                      ProblemType = problemPrefix + "badPublicKey"
	ErrBadRevocationReason               ProblemType = problemPrefix + "badRevocationReason"
	ErrBadSignatureAlgorithm             ProblemType = problemPrefix + "badSignatureAlgorithm"
	ErrCAA                               ProblemType = problemPrefix + "caa"
	ErrCompound                          ProblemType = problemPrefix + "compound"
	ErrConnection                        ProblemType = problemPrefix + "connection"
	ErrDNS                               ProblemType = problemPrefix + "dns"
	ErrExternalAccountRequired           ProblemType = problemPrefix + "externalAccountRequired"
	ErrIncorrectResponse                 ProblemType = problemPrefix + "incorrectResponse"
	ErrInvalidProfile                    ProblemType = problemPrefix + "invalidProfile"
	ErrInvalidContact                    ProblemType = problemPrefix + "invalidContact"
	ErrMalformed                         ProblemType = problemPrefix + "malformed"
	ErrOnionCAARequired                  ProblemType = problemPrefix + "onionCAARequired"
	ErrOrderNotReady                     ProblemType = problemPrefix + "orderNotReady"
	ErrRateLimited                       ProblemType = problemPrefix + "rateLimited"
	ErrRejectedIdentifier                ProblemType = problemPrefix + "rejectedIdentifier"
	ErrServerInternal                    ProblemType = problemPrefix + "serverInternal"
	ErrTLS                               ProblemType = problemPrefix + "tls"
	ErrUnknownDelegation                 ProblemType = problemPrefix + "unknownDelegation"
	ErrUnauthorized                      ProblemType = problemPrefix + "unauthorized"
	ErrUnsupportedContact                ProblemType = problemPrefix + "unsupportedContact"
	ErrUnsupportedIdentifier             ProblemType = problemPrefix + "unsupportedIdentifier"
	ErrUserActionRequired                ProblemType = problemPrefix + "userActionRequired"
)

// A Problem is what a CA answers when it refuses (RFC 8555 §6.7, RFC 9457). Answers of a front end that
// are no problem documents become one too, without a type, so that every refusal has this form.
type Problem struct {
	Type        ProblemType `json:"type,omitempty"`
	Title       string      `json:"title,omitempty"`
	Detail      string      `json:"detail,omitempty"` // the CA's words, as they came
	Status      int         `json:"status,omitempty"` // of HTTP
	Instance    string      `json:"instance,omitempty"`
	Identifier  *Identifier `json:"identifier,omitempty"`  // which a subproblem is about
	Subproblems []*Problem  `json:"subproblems,omitempty"` // one for each identifier concerned (RFC 8555 §6.7.1)
	Algorithms  []string    `json:"algorithms,omitempty"`  // with ErrBadSignatureAlgorithm: those of which the account's key has to be

	// RetryAfter is the wait that the CA asks for: of what it says a week at maxTold, and of what a front end says
	// an hour. zero: it did not say.
	RetryAfter time.Duration `json:"-"`
	// TermsOfService, with ErrUserActionRequired, is the URL of the terms to agree to (RFC 8555 §7.3.3); a
	// person has to visit Instance. Both may be empty.
	TermsOfService string `json:"-"`

	asked time.Duration // the wait as it was asked for
	from  string        // URL whose answer is no problem document
}

// UnmarshalJSON reads a problem document. Members of the wrong type are passed over, for what is left
// still says more than that the document is malformed. Subproblems have none of their own.
func (p *Problem) UnmarshalJSON(data []byte) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return err
	}
	*p = Problem{}
	p.read(members)
	var subproblems []json.RawMessage
	if json.Unmarshal(members["subproblems"], &subproblems) != nil {
		return nil
	}
	for _, data := range subproblems[:min(len(subproblems), maxAuthorizations)] {
		var members map[string]json.RawMessage
		if json.Unmarshal(data, &members) == nil && members != nil {
			sub := new(Problem)
			sub.read(members)
			p.Subproblems = append(p.Subproblems, sub)
		}
	}
	return nil
}

// read sets all fields but the subproblems.
func (p *Problem) read(members map[string]json.RawMessage) {
	readMember(members["type"], &p.Type)
	readMember(members["title"], &p.Title)
	readMember(members["detail"], &p.Detail)
	readMember(members["status"], &p.Status)
	readMember(members["instance"], &p.Instance)
	var id *identifierResource
	if readMember(members["identifier"], &id); id != nil {
		p.Identifier = new(id.identifier())
	}
	readMember(members["algorithms"], &p.Algorithms)
}

func readMember[T any](data json.RawMessage, field *T) {
	var value T
	if json.Unmarshal(data, &value) == nil {
		*field = value
	}
}

// Error names the identifier and says what the CA said, with everything unprintable escaped.
func (p *Problem) Error() string {
	const maxTold = 10 // subproblems that are told
	text := p.text()
	for i, sub := range p.Subproblems {
		if i == maxTold {
			return text + fmt.Sprintf("; and %d more", len(p.Subproblems)-maxTold)
		}
		if sub != nil && !sub.isToldIn(text) {
			text += "; " + sub.text()
		}
	}
	return text
}

// isToldIn reports whether a text has the subproblem's own words, and names what they are about.
func (p *Problem) isToldIn(text string) bool {
	return p.Detail != "" && strings.Contains(text, printable(p.Detail, 1000)) &&
		(p.Identifier == nil || strings.Contains(text, printable(p.Identifier.Value, 260)))
}

// text is the error's text without the subproblems.
func (p *Problem) text() string {
	text := "the CA refused without a reason"
	switch {
	case p.Detail != "":
		text = printable(p.Detail, 1000)
	case p.Title != "":
		text = printable(p.Title, 1000)
	}
	if p.Identifier != nil {
		text = about(p.Identifier.Value, "") + text
	}
	switch {
	case p.from != "":
		text = fmt.Sprintf("HTTP %d from %s: %s", p.Status, printable(p.from, 300), text)
	case p.Type != "" && p.Status != 0:
		text += fmt.Sprintf(" (%v, HTTP %d)", p.Type, p.Status)
	case p.Type != "":
		text += fmt.Sprintf(" (%v)", p.Type)
	case p.Status != 0:
		text += fmt.Sprintf(" (HTTP %d)", p.Status)
	}
	return text + p.advice()
}

// advice is what the CA says on how to fare better.
func (p *Problem) advice() string {
	const maxTold = 10 // algorithms that are told
	text := ""
	if len(p.Algorithms) > 0 {
		algorithms := strings.Join(p.Algorithms[:min(len(p.Algorithms), maxTold)], ", ")
		text += "; the CA takes account keys for " + printable(algorithms, 200) + ": make the account with such a key"
	}
	if p.Type == ErrUserActionRequired {
		if isPage(p.Instance, "https") {
			text += "; visit " + printable(p.Instance, 300)
		}
		if isPage(p.TermsOfService, "https") {
			text += "; the terms to agree to are " + printable(p.TermsOfService, 300)
		}
	}
	if p.RetryAfter > 0 {
		text += fmt.Sprintf("; it asks to wait %v", max(p.asked, p.RetryAfter).Round(time.Second))
	}
	if p.asked > p.RetryAfter {
		text += fmt.Sprintf(", of which %v are waited", p.RetryAfter)
	}
	return text
}

// Is reports whether target is the problem's type.
func (p *Problem) Is(target error) bool {
	t, ok := target.(ProblemType)
	return ok && t == p.Type && t != ""
}

// Unwrap returns the subproblems.
func (p *Problem) Unwrap() []error {
	errs := make([]error, 0, len(p.Subproblems))
	for _, sub := range p.Subproblems {
		if sub != nil {
			errs = append(errs, sub)
		}
	}
	return errs
}

// final reports whether the same request would be refused again, now and later. What is not found may be
// known to another of the CA's replicas.
func (p *Problem) final() bool {
	switch {
	case p.Status < 400 || p.Status >= 500:
		return false
	case p.Status == http.StatusNotFound, p.Status == http.StatusTooManyRequests, p.Status == http.StatusRequestTimeout:
		return false
	case p.Type == "": // a front end's word, not the CA's
		return p.Status == http.StatusGone
	}
	switch p.Type {
	case ErrRateLimited, ErrBadNonce, ErrOrderNotReady:
		return false
	case ErrAccountDoesNotExist, ErrUserActionRequired:
		return false // not about what was asked for: it is there once the account is in order
	}
	return true
}

// foreign reports whether what was asked for a directory is none of a CA's, rather than out of order.
func (p *Problem) foreign() bool {
	isOther := p.from != "" || p.Status == http.StatusNotFound
	return isOther && !p.outage() && p.Status != http.StatusTooManyRequests
}

// says reports whether p, which may be nil, tells anything.
func (p *Problem) says() bool { return p != nil && (p.Type != "" || p.Detail != "") }

// outage reports whether the CA failed, and did not refuse.
func (p *Problem) outage() bool {
	return p.Type == ErrServerInternal || p.Status >= 500 && p.Type != ErrRateLimited
}

// IsOutage reports whether the CA failed itself, rather than refused: each problem in err's tree, of which there
// must be one, is serverInternal or came with a status of 5xx. Another solver or other names would fare no
// better then, and the same request may soon do. Of an [*OrderError] the order is lost all the same.
func IsOutage(err error) bool {
	outages, refusals := 0, 0
	count(err, &outages, &refusals)
	return outages > 0 && refusals == 0
}

// wordless returns how many of the identifiers failed without the CA's saying why.
func wordless(failed []*AuthorizationError) int {
	n := 0
	for _, e := range failed {
		if e.Problem == nil {
			n++
		}
	}
	return n
}

// count counts the problems in the tree of err. Those that have subproblems are no more than their sum.
func count(err error, outages, refusals *int) {
	switch e := err.(type) {
	case *Problem:
		if len(e.Unwrap()) == 0 {
			if e.outage() {
				*outages++
			} else {
				*refusals++
			}
			return
		}
	case *OrderError:
		if e.Problem != nil {
			*refusals -= wordless(e.Authorizations) // whose reason is the order's
		}
	case *AuthorizationError:
		*refusals += wordless([]*AuthorizationError{e})
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		count(e.Unwrap(), outages, refusals)
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			count(err, outages, refusals)
		}
	}
}
