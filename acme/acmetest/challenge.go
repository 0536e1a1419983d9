package acmetest

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"time"
)

// The types of challenges that the server can validate (RFC 8555 §8, RFC 8737,
// draft-ietf-acme-dns-account-label, draft-ietf-acme-dns-persist).
const (
	http01       = "http-01"
	tlsALPN01    = "tls-alpn-01"
	dns01        = "dns-01"
	dnsAccount01 = "dns-account-01"
	dnsPersist01 = "dns-persist-01"
)

// An OtherChallenge is a type of challenge that the server cannot validate by itself.
type OtherChallenge struct {
	// Validate validates what a client accepted a challenge with, a JSON object. Its error makes the
	// challenge invalid; nil: all of them are. It may be called concurrently.
	Validate func(payload []byte) error
	// NoToken leaves the member token out of the challenges.
	NoToken bool
	// Fields are further members of the challenges, such as nonce with onion-csr-01 (RFC 9799 §3.2).
	Fields map[string]any
}

// validationTimeout is how long a validation may take.
const validationTimeout = 10 * time.Second

// A challenge is a way to make an authorization valid (RFC 8555 §7.1.5). Server.mu guards what changes.
type challenge struct {
	id               string
	authorization    *authorization
	challengeType    string
	token            string
	thumbprint       string // of the account's key when the challenge was accepted
	keyAuthorization string // with that key
	payload          []byte // that it was accepted with

	status    string
	validated time.Time
	err       *problem // why it is invalid
}

// A challengeResource is a challenge as the client sees it.
type challengeResource struct {
	Type      string    `json:"type"`
	URL       string    `json:"url"`
	Token     string    `json:"token,omitempty"`
	Status    string    `json:"status"`
	Validated time.Time `json:"validated,omitzero"`
	Error     *problem  `json:"error,omitempty"`

	// With dns-persist-01: up to draft -01, and from -02 on.
	Issuers       []string `json:"issuer-domain-names,omitempty"`
	AccountURI    string   `json:"accounturi,omitempty"`
	HashedIssuers []string `json:"issuerDomainNames,omitempty"`

	fields map[string]any // further members
}

// MarshalJSON puts the further members beside the others.
func (r challengeResource) MarshalJSON() ([]byte, error) {
	type plain challengeResource
	encoded, err := json.Marshal(plain(r))
	if err != nil || len(r.fields) == 0 {
		return encoded, err
	}
	members := make(map[string]any)
	if err := json.Unmarshal(encoded, &members); err != nil {
		return nil, err
	}
	maps.Copy(members, r.fields)
	return json.Marshal(members)
}

// challengeResource is called with s.mu held.
func (s *Server) challengeResource(c *challenge) challengeResource {
	resource := challengeResource{
		Type:      c.challengeType,
		URL:       s.urlOf("challenge", c.id),
		Token:     c.token,
		Status:    c.status,
		Validated: c.validated,
		Error:     c.err,
		fields:    s.OtherChallenges[c.challengeType].Fields,
	}
	switch {
	case c.challengeType != dnsPersist01:
	case s.HashedAccounts:
		resource.HashedIssuers = []string{issuerDomain}
	default:
		resource.Issuers, resource.AccountURI = []string{issuerDomain}, s.urlOf("account", c.authorization.account.ID)
	}
	return resource
}

// challenge answers with a challenge; asked to, it has it validated (RFC 8555 §7.5.1).
func (s *Server) challenge(w http.ResponseWriter, r *http.Request, signed *signedRequest) error {
	c, resource, err := s.takeChallenge(r, signed)
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

// takeChallenge returns the challenge that the request is about; with a payload, it begins the validation.
func (s *Server) takeChallenge(r *http.Request, signed *signedRequest) (c *challenge, resource challengeResource, err error) {
	s.mu.Lock()
	c = s.challenges[r.PathValue("id")]
	if c == nil {
		err = errNotFound(r)
	} else {
		err = checkOwner(c.authorization.account, signed)
	}
	begin := false
	if err == nil && len(signed.payload) > 0 {
		begin, err = s.accept(c, signed)
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

// accept reports whether the validation is to begin. That it has begun, or succeeded, is no error. It is
// called with s.mu held.
func (s *Server) accept(c *challenge, signed *signedRequest) (begin bool, err error) {
	var fields map[string]any
	if err := signed.decode(&fields); err != nil {
		return false, err
	}
	if _, other := s.OtherChallenges[c.challengeType]; fields == nil || len(fields) > 0 && !other {
		return false, problemf(malformed, "the payload is %s; for %s it must be {} to begin the validation, or empty to fetch the challenge",
			quote(string(signed.payload)), c.challengeType)
	}
	c.authorization.update(time.Now())
	switch {
	case c.status == statusProcessing || c.status == statusValid:
		return false, nil
	case c.status == statusInvalid || c.authorization.status != statusPending:
		return false, problemf(malformed, "the authorization is %s: its challenges can no longer be accepted", c.authorization.status)
	}
	c.status, c.payload = statusProcessing, signed.payload
	c.thumbprint = c.authorization.account.thumbprint
	c.keyAuthorization = c.token + "." + c.thumbprint
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
			s.proven[a.holding()] = a
		}
		s.countValidated(a)
	}
}

// validate looks for the answer to the challenge. The error is a problem that says what was found in
// its place.
func (s *Server) validate(ctx context.Context, c *challenge) error {
	if err := s.failValidation(c); err != nil {
		return err
	}
	switch c.challengeType {
	case http01:
		return s.validateHTTP01(ctx, c)
	case tlsALPN01:
		return s.validateTLSALPN01(ctx, c)
	case dns01:
		return s.validateDNS01(ctx, c)
	case dnsAccount01:
		return s.validateDNSAccount01(ctx, c)
	case dnsPersist01:
		return s.validateDNSPersist01(ctx, c)
	}
	validate := s.OtherChallenges[c.challengeType].Validate
	if validate == nil {
		return problemf(unauthorized, "this CA does not validate challenges of type %s", c.challengeType)
	}
	if err := validate(c.payload); err != nil {
		return problemf(unauthorized, "the answer to %s is not right: %v", c.challengeType, err)
	}
	return nil
}
