package acmetest

import (
	"context"
	"net/http"
	"time"
)

// The types of challenges (RFC 8555 §8, RFC 8737).
const (
	http01    = "http-01"
	tlsALPN01 = "tls-alpn-01"
	dns01     = "dns-01"
)

// validationTimeout is how long a validation may take.
const validationTimeout = 10 * time.Second

// A challenge is a way to make an authorization valid (RFC 8555 §7.1.5). Server.mu guards what changes.
type challenge struct {
	id               string
	authorization    *authorization
	challengeType    string
	token            string
	keyAuthorization string // by the account's key when the challenge was accepted

	status    string
	validated time.Time
	err       *problem // why it is invalid
}

// A challengeResource is a challenge as the client sees it.
type challengeResource struct {
	Type      string    `json:"type"`
	URL       string    `json:"url"`
	Token     string    `json:"token"`
	Status    string    `json:"status"`
	Validated time.Time `json:"validated,omitzero"`
	Error     *problem  `json:"error,omitempty"`
}

// challengeResource is called with s.mu held.
func (s *Server) challengeResource(c *challenge) challengeResource {
	return challengeResource{
		Type:      c.challengeType,
		URL:       s.urlOf("challenge", c.id),
		Token:     c.token,
		Status:    c.status,
		Validated: c.validated,
		Error:     c.err,
	}
}

// challenge answers with a challenge; asked to, it has it validated (RFC 8555 §7.5.1).
func (s *Server) challenge(w http.ResponseWriter, r *http.Request, signed *signedRequest) error {
	accept := len(signed.payload) > 0
	if accept {
		var fields map[string]any
		if err := signed.decode(&fields); err != nil {
			return err
		}
		if fields == nil || len(fields) > 0 {
			return problemf(malformed, "the payload is %s; it must be {} to begin the validation, or empty to look at the challenge", quote(string(signed.payload)))
		}
	}
	c, resource, err := s.takeChallenge(r, signed, accept)
	if err != nil {
		return err
	}
	if resource.Status == statusPending || resource.Status == statusProcessing {
		s.askLater(w)
	}
	w.Header().Add("Link", "<"+s.urlOf("authorization", c.authorization.id)+`>;rel="up"`)
	writeJSON(w, http.StatusOK, resource)
	return nil
}

// takeChallenge returns the challenge that the request is about; with accept, it begins the validation.
func (s *Server) takeChallenge(r *http.Request, signed *signedRequest, accept bool) (c *challenge, resource challengeResource, err error) {
	s.mu.Lock()
	c = s.challenges[r.PathValue("id")]
	if c == nil {
		err = errNotFound(r)
	} else {
		err = checkOwner(c.authorization.account, signed)
	}
	begin := false
	if err == nil && accept {
		begin, err = c.accept(time.Now())
	}
	if err == nil {
		resource = s.challengeResource(c)
	}
	s.mu.Unlock()
	if begin {
		s.inBackground(r.Context(), func(ctx context.Context) { s.decide(ctx, c) })
	}
	return c, resource, err
}

// accept reports whether the validation is to begin. That it has begun, or succeeded, is no error.
func (c *challenge) accept(now time.Time) (begin bool, err error) {
	c.authorization.update(now)
	switch {
	case c.status == statusProcessing || c.status == statusValid:
		return false, nil
	case c.status == statusInvalid || c.authorization.status != statusPending:
		return false, problemf(malformed, "the authorization is %s: its challenges can no longer be accepted", c.authorization.status)
	}
	c.status = statusProcessing
	c.keyAuthorization = c.token + "." + c.authorization.account.thumbprint
	return true, nil
}

// decide validates the challenge and gives it and its authorization their final statuses.
func (s *Server) decide(ctx context.Context, c *challenge) {
	ctx, cancel := context.WithTimeout(ctx, validationTimeout)
	defer cancel()
	err := s.validate(ctx, c)
	s.log.InfoContext(ctx, "challenge validated", "type", c.challengeType, "name", c.authorization.identifier.Value, "problem", err)

	s.mu.Lock()
	defer s.mu.Unlock()
	a, now := c.authorization, time.Now()
	a.update(now)
	c.status = statusValid
	c.validated = now.UTC().Truncate(time.Second)
	if err != nil {
		c.status, c.validated, c.err = statusInvalid, time.Time{}, asProblem(err)
	}
	if a.status == statusPending { // else another challenge, the client or the time has decided before
		a.status = c.status
		if a.status == statusValid {
			s.proven[holding{a.account, a.inOrder()}] = a
		}
	}
}

// validate looks for the answer to the challenge. The error is a problem that says what was found in
// its place.
func (s *Server) validate(ctx context.Context, c *challenge) error {
	switch c.challengeType {
	case http01:
		return s.validateHTTP01(ctx, c)
	case tlsALPN01:
		return s.validateTLSALPN01(ctx, c)
	default:
		return s.validateDNS01(c)
	}
}
