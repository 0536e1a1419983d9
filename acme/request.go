package acme

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Bounds on what a CA can make a call cost.
const (
	largestBody  = 128 << 10        // bytes of an answer
	largestChain = 1 << 20          // bytes of one that is a certificate chain
	maxURLLength = 2000             // bytes
	maxBadNonces = 20               // in a row, for one request
	maxTries     = 3                // of one request that got no answer, or was asked to come back soon
	maxMisses    = 3                // of what the CA has named and does not find: 4 s in all
	maxPause     = 10 * time.Second // a longer Retry-After is for the caller to wait out
	userAgent    = "everseal/0 (+https://github.com/everseal/everseal)"
)

// A request is one to be made of the CA.
type request struct {
	action string // as Exchange.Action has it
	method string
	url    string
	body   []byte // of a signed request: the payload
	limit  int    // bytes of the answer; zero: largestBody
	own    bool   // the URL is the account's own, as the client knows it when it asks
	named  bool   // the CA itself has named the URL: that it is not found may only be so for a moment
	lost   *bool  // of a signed request, if not nil: set if a try got no answer, so that the CA may have acted
}

// A transportError says that no answer came: the CA may or may not have acted.
type transportError struct{ error }

// Error has the answer's words, which net/http quotes in part or whole, escaped and bounded.
func (e transportError) Error() string { return printable(e.error.Error(), 2*maxURLLength) }
func (e transportError) Unwrap() error { return e.error }

// A redirectError says that a redirect was not followed.
type redirectError struct{ error }

// fetch gets a resource that needs no account.
func (c *Client) fetch(ctx context.Context, action, url string) (*response, error) {
	var resp *response
	r := request{action: action, method: http.MethodGet, url: url}
	err := r.retry(ctx, func() (err error) {
		resp, err = c.exchange(ctx, r)
		return err
	})
	return resp, err
}

// get fetches a resource that the CA has named (POST-as-GET, RFC 8555 §6.3).
func (c *Client) get(ctx context.Context, action, url string) (*response, error) {
	return c.post(ctx, request{action: action, url: url, body: []byte{}, named: true})
}

// post signs r for the client's account and posts it.
func (c *Client) post(ctx context.Context, r request) (*response, error) {
	kid, err := c.kid(ctx)
	if err != nil {
		return nil, err
	}
	if r.own {
		r.url = kid
	}
	resp, err := c.postSigned(ctx, r, kid)
	if err == nil {
		c.accountAccepted()
		return resp, nil
	}
	current, err := c.reviewAccount(ctx, r, kid, err)
	if err != nil {
		return nil, err
	}
	if r.own {
		r.url = current
	}
	return c.postSigned(ctx, r, current)
}

// postSigned posts r signed for the account kid, or with the key embedded if kid is empty. Each try
// is signed anew, with a nonce of its own.
func (c *Client) postSigned(ctx context.Context, r request, kid string) (*response, error) {
	var resp *response
	err := r.retry(ctx, func() error {
		nonce, err := c.nonce(ctx)
		if err != nil {
			return err
		}
		var problem *Problem
		for range maxBadNonces {
			body, err := signature{key: c.Key, url: r.url, nonce: nonce, kid: kid}.sign(r.body)
			if err != nil {
				return err
			}
			resp, err = c.exchange(ctx, request{action: r.action, method: http.MethodPost, url: r.url, body: body, limit: r.limit})
			if _, lost := err.(transportError); lost && r.lost != nil {
				*r.lost = true
			}
			var refused bool
			if problem, refused = err.(*Problem); !refused || problem.Type != ErrBadNonce {
				return err
			}
			// RFC 8555 §6.5: the retry uses the nonce that came with the refusal.
			if nonce = resp.nonce(); nonce == "" {
				c.nonces.clear()
				if nonce, err = c.nonce(ctx); err != nil {
					return err
				}
			}
		}
		return fmt.Errorf("the CA refused %d nonces of its own in a row: %w", maxBadNonces, problem)
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// retry calls f, which makes the request, again if that may help and is soon allowed. What the CA has named
// and does not find has some seconds to be found.
func (r request) retry(ctx context.Context, f func() error) error {
	tries, misses := 1, 0
	for {
		err := f()
		if err == nil || ctx.Err() != nil {
			return err
		}
		var wait time.Duration
		switch {
		case r.named && misses < maxMisses && notFound(err) && !errors.As(err, new(nonceError)):
			wait = missPause(misses)
			misses++
		case tries < maxTries:
			wait = retryWait(err, tries)
			tries++
		}
		if wait == 0 || pause(ctx, wait) != nil {
			return err
		}
	}
}

// missPause returns how long to wait for what the CA has named and does not have, after n such waits.
func missPause(n int) time.Duration { return 200 * time.Millisecond << (2 * n) }

// retryWait returns how long to wait before the next try; zero: there is no use in one.
func retryWait(err error, try int) time.Duration {
	var problem *Problem
	var lost transportError
	var untrusted *tls.CertificateVerificationError
	var refused redirectError
	switch {
	case errors.As(err, &untrusted), errors.As(err, &refused):
		return 0
	case errors.As(err, &lost):
		return 100 * time.Millisecond << try
	case errors.As(err, &problem) && !problem.final() && problem.RetryAfter <= maxPause:
		return problem.RetryAfter
	}
	return 0
}

// notFound reports whether the CA answered with 404.
func notFound(err error) bool {
	problem, refused := errors.AsType[*Problem](err)
	return refused && problem.Status == http.StatusNotFound && problem.Type != ErrAccountDoesNotExist
}

// A RetryAfterError reports that the CA wants to be asked again only after the context's deadline. It
// wraps context.DeadlineExceeded.
type RetryAfterError struct {
	RetryAfter time.Duration // the wait that the CA asks for
}

// Error says how long the CA asks to wait.
func (e *RetryAfterError) Error() string {
	return fmt.Sprintf("the CA asks to come back in %v, which is after the deadline", e.RetryAfter.Round(time.Second))
}

// Unwrap returns context.DeadlineExceeded.
func (e *RetryAfterError) Unwrap() error { return context.DeadlineExceeded }

// pause waits for d, or returns the context's error. When the deadline would come sooner it returns at once.
func pause(ctx context.Context, d time.Duration) error {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < d {
		return context.DeadlineExceeded
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// exchange does one request and keeps the nonce that comes back. A refusal is a *Problem as it is,
// returned with its response.
func (c *Client) exchange(ctx context.Context, r request) (*response, error) {
	if err := c.checkURL(r.url); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, r.method, r.url, bytes.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", strings.TrimSpace(c.UserAgent+" "+userAgent))
	if r.method == http.MethodPost {
		req.Header.Set("Content-Type", "application/jose+json")
	}
	begun := time.Now()
	resp, err := c.do(req, cmp.Or(r.limit, largestBody))
	var problem *Problem
	if err == nil {
		if problem = resp.problem(); problem != nil {
			err = problem
		}
	}
	if c.Observe != nil {
		c.Observe(Exchange{r.action, resp.status, time.Since(begun), err})
	}
	if err != nil && problem == nil {
		return nil, err
	}
	// The caller that asked for a nonce, or had one refused, has a use for the one that came.
	if r.method != http.MethodHead && (problem == nil || problem.Type != ErrBadNonce) {
		c.nonces.put(resp.nonce())
	}
	return resp, err
}

// do sends the request and reads the answer; of one that did not come the status is zero.
func (c *Client) do(req *http.Request, limit int) (*response, error) {
	resp := &response{url: req.URL}
	httpResp, err := c.httpClient(req.Method).Do(req)
	if err != nil {
		return resp, transportError{err}
	}
	defer httpResp.Body.Close()
	resp.status, resp.header = httpResp.StatusCode, httpResp.Header
	if httpResp.Request != nil {
		resp.url = httpResp.Request.URL // where a redirect led
	}
	resp.body, err = io.ReadAll(io.LimitReader(httpResp.Body, int64(limit)+1))
	if err != nil {
		return resp, transportError{fmt.Errorf("read the answer of %s: %w", req.URL, err)}
	}
	if len(resp.body) > limit && resp.status < 300 {
		return resp, fmt.Errorf("the answer of %s is larger than %d bytes", req.URL, limit)
	}
	return resp, nil
}

// httpClient returns a client that does not redirect signed requests: their URL is part of what is
// signed (RFC 8555 §6.4).
func (c *Client) httpClient(method string) *http.Client {
	client := http.DefaultClient
	if c.HTTPClient != nil {
		client = c.HTTPClient
	}
	redirecting := *client
	redirecting.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if method != http.MethodGet {
			return http.ErrUseLastResponse
		}
		if len(via) > 3 {
			return redirectError{errors.New("redirected more than three times")}
		}
		if err := c.checkURL(req.URL.String()); err != nil {
			return redirectError{err}
		}
		return nil
	}
	return &redirecting
}

// checkURL refuses what no CA ought to send a client to. Plain http is for test servers: only if
// the directory itself was named so, on loopback.
func (c *Client) checkURL(raw string) error {
	if raw == "" {
		return errors.New("the URL is empty")
	}
	u, err := url.Parse(raw)
	if err != nil || len(raw) > maxURLLength || strings.ContainsFunc(raw, foreign) {
		return fmt.Errorf("the URL %.200q is malformed", raw)
	}
	if u.User != nil {
		return fmt.Errorf("the URL of %.200q holds a user's name or a password, which no CA's does", u.Host)
	}
	if u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" {
		return fmt.Errorf("the URL %.200q is not one of https", raw)
	}
	if u.Scheme == "https" {
		return nil
	}
	if directory, err := url.Parse(c.directoryURL()); err != nil || directory.Scheme != "http" || !isLoopback(u.Hostname()) {
		return fmt.Errorf("the URL %.200q is not one of https", raw)
	}
	return nil
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}
