package acme

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"time"
)

// A response is a CA's answer, its body read whole.
type response struct {
	url    *url.URL
	status int
	header http.Header
	body   []byte
}

// problem returns what the CA refused with, or nil if it did not.
func (r *response) problem() *Problem {
	if r.status < 300 {
		return nil
	}
	problem := new(Problem)
	limit := maxRetryAfter
	if r.status < 400 || json.Unmarshal(r.body, problem) != nil || problem.Type == "" && problem.Detail == "" {
		problem = &Problem{Detail: "the answer is no problem document but " + r.excerpt(), from: r.url.String()}
		limit = maxFrontEndRetryAfter
	}
	problem.Status = r.status
	problem.asked = retryAfter(r.header, time.Now())
	problem.RetryAfter = min(problem.asked, limit)
	if terms := r.links("terms-of-service"); problem.Type == ErrUserActionRequired && len(terms) > 0 {
		problem.TermsOfService = terms[0]
	}
	return problem
}

// nonce returns the nonce that came with the answer, or "" if there is no valid one.
func (r *response) nonce() string {
	nonce := r.header.Get("Replay-Nonce")
	if !validNonce(nonce) {
		return ""
	}
	return nonce
}

// retryAfter returns when the CA wants to be asked again, at most a week; zero: it did not say.
func (r *response) retryAfter() time.Duration {
	return min(retryAfter(r.header, time.Now()), maxRetryAfter)
}

// date returns the time by the clock of whoever answered; zero: it does not tell.
func (r *response) date() time.Time {
	date, err := http.ParseTime(r.header.Get("Date"))
	if err != nil {
		return time.Time{}
	}
	return date
}

// decode decodes the JSON body.
func (r *response) decode(v any) error {
	if err := json.Unmarshal(r.body, v); err != nil {
		return fmt.Errorf("the answer of %s is not the JSON expected but %s: %s", r.url, r.excerpt(), printable(err.Error(), 200))
	}
	return nil
}

// excerpt describes the body for an error.
func (r *response) excerpt() string {
	if len(r.body) == 0 {
		return "empty"
	}
	kind, _, err := mime.ParseMediaType(r.header.Get("Content-Type"))
	if err != nil {
		kind = "of no known type"
	}
	return fmt.Sprintf("%s (%q)", printable(kind, 60), r.body[:min(len(r.body), 120)])
}

// unexpected describes an answer whose status means nothing here.
func (r *response) unexpected() error {
	return fmt.Errorf("%s answered with HTTP %d, %s", r.url, r.status, r.excerpt())
}

// location returns the URL of what was made. It is kept and sent again: it must be one to make requests of.
func (c *Client) location(r *response) (string, error) {
	location := r.header.Get("Location")
	if location == "" {
		return "", fmt.Errorf("the answer of %s has no Location header", r.url)
	}
	location, err := r.resolve(location)
	if err == nil {
		err = c.checkURL(location)
	}
	return location, err
}

// resolve returns the absolute form of a URL in the answer. One that is absolute is left as it is, to
// the letter: it is signed so.
func (r *response) resolve(ref string) (string, error) {
	u, err := url.Parse(ref)
	if err != nil {
		return "", fmt.Errorf("the URL %.200q in the answer is malformed", ref)
	}
	if u.IsAbs() {
		return ref, nil
	}
	resolved := r.url.ResolveReference(u).String()
	if _, err := url.Parse(resolved); err != nil {
		return "", fmt.Errorf("the URL %.200q in the answer is malformed", ref)
	}
	return resolved, nil
}
