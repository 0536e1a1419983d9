package acmetest

import (
	"net/http"
	"strings"
	"time"
)

// An authorization is an account's right to certificates for an identifier, once it is valid (RFC 8555
// §7.1.4). Server.mu guards what changes.
type authorization struct {
	id         string
	account    *account
	expires    time.Time
	identifier identifier // without "*."
	wildcard   bool
	subdomains bool // it is for all names below the identifier, too (RFC 9444 §4)
	challenges []*challenge

	status string
}

// A holding is what an authorization is about: an identifier as orders have it, and who may have
// certificates for it.
type holding struct {
	account    *account
	identifier identifier
	subdomains bool // all names below the identifier are meant, too
}

// addAuthorization makes a pending authorization. It is called with s.mu held.
func (s *Server) addAuthorization(held holding, expires time.Time) *authorization {
	id := held.identifier
	a := &authorization{id: randomID(), account: held.account, expires: expires, identifier: id, subdomains: held.subdomains, status: statusPending}
	if base, ok := strings.CutPrefix(id.Value, "*."); ok {
		a.identifier.Value, a.wildcard = base, true
	}
	for _, challengeType := range s.offered(held) {
		c := &challenge{id: randomID(), authorization: a, challengeType: challengeType, token: randomID(), status: statusPending}
		if challengeType == dnsPersist01 || s.OtherChallenges[challengeType].NoToken {
			c.token = ""
		}
		a.challenges = append(a.challenges, c)
		s.challenges[c.id] = c
	}
	s.authorizations[a.id] = a
	return a
}

// inOrder returns the identifier as an order has it.
func (a *authorization) inOrder() identifier {
	id := a.identifier
	if a.wildcard {
		id.Value = "*." + id.Value
	}
	return id
}

// holding returns what the authorization is about.
func (a *authorization) holding() holding {
	return holding{account: a.account, identifier: a.inOrder(), subdomains: a.subdomains}
}

// update lets the authorization expire when its time has come, and returns its status (RFC 8555
// §7.1.6).
func (a *authorization) update(now time.Time) string {
	switch {
	case now.Before(a.expires):
	case a.status == statusPending:
		a.status = statusInvalid
	case a.status == statusValid:
		a.status = statusExpired
	}
	return a.status
}

// problem returns the problem of the challenge that failed, nil if none has.
func (a *authorization) problem() *problem {
	for _, c := range a.challenges {
		if c.status == statusInvalid {
			return c.err
		}
	}
	return nil
}

// shows reports whether c is listed in the authorization: once a challenge has decided it, no other is
// (RFC 8555 §7.1.4).
func (a *authorization) shows(c *challenge) bool {
	switch a.status {
	case statusValid, statusExpired:
		return c.status == statusValid
	case statusInvalid:
		return c.status == statusInvalid || a.problem() == nil
	}
	return true
}

// An authorizationResource is an authorization as the client sees it.
type authorizationResource struct {
	Status     string              `json:"status"`
	Expires    time.Time           `json:"expires"`
	Identifier identifier          `json:"identifier"`
	Wildcard   bool                `json:"wildcard,omitempty"`
	Subdomains bool                `json:"subdomainAuthAllowed,omitempty"`
	Challenges []challengeResource `json:"challenges"`

	url string
}

// authorizationResource is called with s.mu held.
func (s *Server) authorizationResource(a *authorization) authorizationResource {
	a.update(time.Now())
	resource := authorizationResource{
		Status:     a.status,
		Expires:    a.expires,
		Identifier: a.identifier,
		Wildcard:   a.wildcard,
		Subdomains: a.subdomains,
		url:        s.urlOf("authorization", a.id),
	}
	for _, c := range a.challenges {
		if a.shows(c) {
			resource.Challenges = append(resource.Challenges, s.challengeResource(c))
		}
	}
	return resource
}

// authorization answers with an authorization, or deactivates it (RFC 8555 §7.5, §7.5.2).
func (s *Server) authorization(w http.ResponseWriter, r *http.Request, signed *signedRequest) error {
	var request struct {
		Status string `json:"status"`
	}
	if len(signed.payload) > 0 {
		if err := signed.decode(&request); err != nil {
			return err
		}
		if request.Status != statusDeactivated {
			return problemf(malformed, "the status is %s; \"deactivated\" is the only one that can be asked for", quote(request.Status))
		}
	}
	resource, err := s.changeAuthorization(r, signed, request.Status)
	if err != nil {
		return err
	}
	if resource.Status == statusPending {
		s.askLater(w)
	}
	writeJSON(w, http.StatusOK, resource)
	return nil
}

// changeAuthorization gives the authorization a status, unless that is empty, and returns it.
func (s *Server) changeAuthorization(r *http.Request, signed *signedRequest, status string) (resource authorizationResource, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.authorizations[r.PathValue("id")]
	if a == nil {
		return resource, errNotFound(r)
	}
	if err := checkOwner(a.account, signed); err != nil {
		return resource, err
	}
	a.update(time.Now())
	if status != "" {
		if a.status != statusPending && a.status != statusValid {
			return resource, problemf(malformed, "the authorization is %s and can no longer be deactivated", a.status)
		}
		a.status = status
	}
	return s.authorizationResource(a), nil
}
