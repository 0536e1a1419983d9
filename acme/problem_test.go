package acme_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/everseal/everseal/acme"
)

// maxErrorLength is the most bytes that an error about something a CA sent ought to have.
const maxErrorLength = 64 << 10

// wantPrintable checks that the text can go to a log and a terminal.
func wantPrintable(t *testing.T, text string) {
	t.Helper()
	if len(text) > maxErrorLength || !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("%d bytes that are too many or do not print: %.500q", len(text), text)
	}
}

// refuse returns the error for a refusal with the document.
func refuse(t *testing.T, status int, document string, headers ...string) (*acme.Problem, error) {
	t.Helper()
	client := fake{"/order": answer(status, document, headers...)}.client(t)
	client.AccountURL = fakeOrigin + "/account/1"
	_, err := client.GetOrder(t.Context(), fakeOrigin+"/order")
	var p *acme.Problem
	if !errors.As(err, &p) {
		t.Fatalf("error %v has no problem", err)
	}
	return p, err
}

func TestProblemIsParsed(t *testing.T) {
	p, err := refuse(t, 403, `{
		"type": "urn:ietf:params:acme:error:compound", "title": "Refused", "detail": "Some names are refused", "status": 400,
		"instance": "https://ca.example/why", "algorithms": ["ES256"], "unknown": {"a": [1]},
		"subproblems": [
			{"type": "urn:ietf:params:acme:error:rejectedIdentifier", "detail": "No", "identifier": {"type": "dns", "value": "a.example"}},
			null,
			{"type": "urn:ietf:params:acme:error:caa", "detail": "CAA says no", "identifier": {"type": "dns", "value": "b.example"}}
		]}`)
	if p.Status != 403 || p.Title != "Refused" || p.Instance != "https://ca.example/why" || !reflect.DeepEqual(p.Algorithms, []string{"ES256"}) {
		t.Errorf("problem %+v", p)
	}
	for _, target := range []acme.ProblemType{acme.ErrCompound, acme.ErrRejectedIdentifier, acme.ErrCAA} {
		if !errors.Is(fmt.Errorf("manager: %w", errors.Join(io.EOF, err)), target) {
			t.Errorf("%v is not found in %v", target, err)
		}
	}
	if errors.Is(err, acme.ErrRateLimited) || errors.Is(err, acme.ProblemType("")) || errors.Is(err, io.EOF) {
		t.Error("something is found that is not there")
	}
	wantError(t, err, nil, "Some names are refused", "a.example", "No", "b.example", "CAA says no", "compound", "403")
	wantPrintable(t, err.Error())
}

func TestAnswersThatAreNoProblemDocuments(t *testing.T) {
	for _, test := range []struct{ body, contentType, says string }{
		{"<html>\x1b[31mBad gateway</html>", "text/html; charset=utf-8", "text/html"},
		{"", "", "empty"},
		{"null", "application/json", "null"},
		{"[]", "application/json", "[]"},
		{`"down"`, "application/json", "down"},
		{"{}", "application/problem+json", "{}"},
		{"{", "application/problem+json", "{"},
		{strings.Repeat("[", 100_000), "application/json", "[[["},
		{"\xff\xfe\u202eevil", "text/plain", "text/plain"},
		{"<html>" + strings.Repeat("x", 1<<19), "text/html", "<html>"},
		{"down", strings.Repeat("x", 100_000) + "/html", "down"},
	} {
		p, err := refuse(t, 502, test.body, "Content-Type", test.contentType)
		if p.Status != 502 || p.Type != "" {
			t.Errorf("%.20q: problem of type %q with status %d", test.body, p.Type, p.Status)
		}
		wantError(t, err, nil, test.says, "502")
		wantPrintable(t, err.Error())
	}
}

// What can be read of a problem document counts, though another field of it is malformed.
func TestProblemWithAFieldOfTheWrongType(t *testing.T) {
	for _, field := range []string{`"status": "429"`, `"identifier": "example.com"`, `"subproblems": {}`, `"title": 7`, `"status": 1e99`} {
		_, err := refuse(t, 429, `{`+field+`, "type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many certificates"}`)
		wantError(t, err, acme.ErrRateLimited, "too many certificates")
		wantPrintable(t, err.Error())
	}
}

// TestProblemTypes has the names that IANA's registry of ACME error types, and the drafts, give them.
func TestProblemTypes(t *testing.T) {
	for name, target := range map[string]acme.ProblemType{
		"accountDoesNotExist": acme.ErrAccountDoesNotExist, "alreadyReplaced": acme.ErrAlreadyReplaced, "alreadyRevoked": acme.ErrAlreadyRevoked,
		"autoRenewalCanceled": acme.ErrAutoRenewalCanceled, "autoRenewalExpired": acme.ErrAutoRenewalExpired,
		"autoRenewalCancellationInvalid": acme.ErrAutoRenewalCancellationInvalid, "autoRenewalRevocationNotSupported": acme.ErrAutoRenewalRevocationNotSupported,
		"badAttestationStatement": acme.ErrBadAttestationStatement, "badCSR": acme.ErrBadCSR, "badNonce": acme.ErrBadNonce,
		"badPublicKey": acme.ErrBadPublicKey, "badRevocationReason": acme.ErrBadRevocationReason, "badSignatureAlgorithm": acme.ErrBadSignatureAlgorithm,
		"caa": acme.ErrCAA, "compound": acme.ErrCompound, "connection": acme.ErrConnection, "dns": acme.ErrDNS,
		"externalAccountRequired": acme.ErrExternalAccountRequired, "incorrectResponse": acme.ErrIncorrectResponse, "invalidContact": acme.ErrInvalidContact,
		"invalidProfile": acme.ErrInvalidProfile, "malformed": acme.ErrMalformed, "onionCAARequired": acme.ErrOnionCAARequired,
		"orderNotReady": acme.ErrOrderNotReady, "rateLimited": acme.ErrRateLimited, "rejectedIdentifier": acme.ErrRejectedIdentifier,
		"serverInternal": acme.ErrServerInternal, "tls": acme.ErrTLS, "unauthorized": acme.ErrUnauthorized, "unknownDelegation": acme.ErrUnknownDelegation,
		"unsupportedContact": acme.ErrUnsupportedContact, "unsupportedIdentifier": acme.ErrUnsupportedIdentifier, "userActionRequired": acme.ErrUserActionRequired,
	} {
		p, err := refuse(t, 400, problem(name, "no"))
		if !errors.Is(err, target) || p.Type.Error() != name {
			t.Errorf("%s is not %v but %v", name, target, err)
		}
	}
	_, err := refuse(t, 400, problem("notYetInvented", "no"))
	wantError(t, err, acme.ProblemType("urn:ietf:params:acme:error:notYetInvented"), "notYetInvented")
}

func TestProblemText(t *testing.T) {
	hostile := "\x1b[2J\u202e\u0007\n" + strings.Repeat("ä", 100_000)
	deep := &acme.Problem{Detail: hostile}
	for range 300 {
		deep = &acme.Problem{Detail: strings.Repeat("\u202e", 100), Subproblems: []*acme.Problem{deep}}
	}
	wide := &acme.Problem{Detail: "wide"}
	for i := range 10_000 {
		wide.Subproblems = append(wide.Subproblems, &acme.Problem{Detail: hostile[:2000], Identifier: &acme.Identifier{Type: "dns", Value: fmt.Sprint(i, hostile[:400])}})
	}
	for name, p := range map[string]*acme.Problem{
		"hostile": {Type: acme.ProblemType(hostile), Title: hostile, Detail: hostile, Instance: hostile, Identifier: &acme.Identifier{Value: hostile}},
		"title":   {Title: hostile},
		"empty":   {},
		"deep":    deep,
		"wide":    wide,
	} {
		t.Run(name, func(t *testing.T) {
			if p.Error() == "" {
				t.Error("no text")
			}
			wantPrintable(t, p.Error())
			wantPrintable(t, p.Type.Error())
			wantPrintable(t, (&acme.OrderError{Problem: p, Authorizations: []*acme.AuthorizationError{{Identifier: hostile, ChallengeType: hostile, Status: hostile}}}).Error())
		})
	}
	for _, test := range []struct {
		problem acme.Problem
		want    string
	}{
		{acme.Problem{Type: acme.ErrCAA, Detail: "CAA forbids", Status: 403, Identifier: &acme.Identifier{Type: "dns", Value: "example.com"}}, "example.com: CAA forbids (caa, HTTP 403)"},
		{acme.Problem{Type: acme.ErrRateLimited, Detail: "too many", RetryAfter: 90 * time.Second}, "too many (rateLimited); it asks to wait 1m30s"},
		{acme.Problem{Title: "Refused", Status: 500}, "Refused (HTTP 500)"},
		{acme.Problem{Detail: "none for example.com", Status: 400, Subproblems: []*acme.Problem{
			{Detail: "none for example.com", Identifier: &acme.Identifier{Type: acme.TypeDNS, Value: "example.com"}},
			{Detail: "none for example.com", Identifier: &acme.Identifier{Type: acme.TypeDNS, Value: "example.net"}},
		}}, "none for example.com (HTTP 400); example.net: none for example.com"},
		{acme.Problem{Detail: `a "quoted" name`}, `a "quoted" name`},
	} {
		if got := test.problem.Error(); got != test.want {
			t.Errorf("text %q, want %q", got, test.want)
		}
	}
}

func TestOrderErrorAlwaysSaysWhy(t *testing.T) {
	for name, err := range map[string]error{
		"nothing":       &acme.OrderError{URL: fakeOrigin + "/order"},
		"authorization": &acme.OrderError{Authorizations: []*acme.AuthorizationError{{Identifier: "example.com", Status: acme.StatusExpired}}},
	} {
		text := strings.TrimPrefix(err.Error(), "acme: the order failed")
		if len(text) < 10 {
			t.Errorf("%s: %q says nothing of why", name, err)
		}
	}
	problem := &acme.Problem{Type: acme.ErrServerInternal, Detail: "the HSM is down"}
	wantError(t, &acme.OrderError{Problem: problem}, acme.ErrServerInternal, "the HSM is down")
	wantError(t, &acme.OrderError{Err: io.EOF}, io.EOF, "EOF")
	wantError(t, &acme.OrderError{Err: io.EOF, Problem: problem}, acme.ErrServerInternal, "EOF")
}

func TestRetryAfter(t *testing.T) {
	const longest = 7 * 24 * time.Hour
	for _, test := range []struct {
		header string
		want   time.Duration
	}{
		{"", 0}, {"0", 0}, {"-5", 0}, {"soon", 0}, {"1.5", 0}, {"\u0661", 0},
		{"20", 20 * time.Second}, {" 20 ", 20 * time.Second}, {"86400", 24 * time.Hour},
		{"9223372036854775807", longest}, {"99999999999999999999999999", longest}, {"10000000000", longest},
		{"Sat, 01 Jan 2000 00:01:00 GMT", time.Minute},
		{"Saturday, 01-Jan-00 00:01:00 GMT", time.Minute},
		{"Sat Jan  1 00:01:00 2000", time.Minute},
		{"Fri, 31 Dec 1999 23:59:59 GMT", 0},
		{"Thu, 01 Jan 1970 00:00:00 GMT", 0},
		{"Fri, 31 Dec 9999 23:59:59 GMT", longest},
		{"Sat, 32 Jan 2000 00:01:00 GMT", 0},
	} {
		synctest.Test(t, func(t *testing.T) { // where it is midnight of 1 January 2000
			p, err := refuse(t, http.StatusForbidden, problem("rateLimited", "slowly"), "Retry-After", test.header)
			if p.RetryAfter != test.want {
				t.Errorf("Retry-After %q asks to wait %v, want %v", test.header, p.RetryAfter, test.want)
			}
			if says := strings.Contains(err.Error(), "wait"); says != (test.want > 0) {
				t.Errorf("Retry-After %q: %v", test.header, err)
			}
		})
	}
}
